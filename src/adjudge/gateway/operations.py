"""What can be asked of the gateway: one row each, from which the routes and /openapi.json are both made."""

from typing import Any, NamedTuple

from adjudge.gateway.api.chat import ChatApi
from adjudge.gateway.api.judge import JudgeApi
from adjudge.gateway.api.plain import PlainApi
from adjudge.gateway.api.rewards import RewardsApi
from adjudge.gateway.asgi import Handler
from adjudge.gateway.shapes import (
    Batch,
    ChatRequest,
    Done,
    FeedbackRequest,
    FeedbackTold,
    Health,
    JudgeRequest,
    Kept,
    ModelList,
    Result,
    RewardsRequest,
    RewardsTold,
    SingleRequest,
    TrainerRequest,
    TrainerRewards,
    Unjudged,
)

JSON, NDJSON, EVENTS, TEXT = "application/json", "application/x-ndjson", "text/event-stream", "text/plain"
Media = dict[str, tuple[Any, ...]]
"""Media type -> the types that its content is one of; none for what is no JSON."""


class Operation(NamedTuple):
    """`scope`: of the key that it needs, None for none. `problems`: statuses beside those that any request may get."""

    method: str
    path: str
    scope: str | None
    handler: Handler
    words: str
    answer: Media
    posted: tuple[Any, ...] = ()
    problems: tuple[int, ...] = ()


class Apis(NamedTuple):
    judge: JudgeApi
    chat: ChatApi
    rewards: RewardsApi
    plain: PlainApi


BUYING = (402, 404, 409, 502, 504)


def operations(apis: Apis) -> list[Operation]:
    """All of them, those that are asked for most first."""
    judge, chat, rewards, plain = apis
    health: Media = {JSON: (Health,)}
    return [
        Operation(
            "POST",
            "/v1/chat/completions",
            "judge",
            chat.post,
            "Send messages to an arm, or to the arm that the router picks. The model is adjudge/ARM or adjudge/auto.",
            {JSON: (), EVENTS: ()},
            (ChatRequest,),
            BUYING,
        ),
        Operation(
            "POST",
            "/v1/judge",
            "judge",
            judge.post,
            "Judge one item or a batch. A batch streams as it is judged where the Accept header asks for it.",
            {JSON: (Result, Batch), NDJSON: (Result, Unjudged, Done), EVENTS: ()},
            (SingleRequest, JudgeRequest),
            BUYING,
        ),
        Operation(
            "POST",
            "/v1/rewards",
            "reward",
            rewards.post,
            "Score responses for a training: items or groups, or what OpenRLHF posts to a remote reward model.",
            {JSON: (RewardsTold, TrainerRewards)},
            (RewardsRequest, TrainerRequest),
            BUYING,
        ),
        Operation(
            "POST",
            "/v1/feedback",
            "feedback",
            plain.feedback,
            "Say which side of an earlier judgment's pair is the better one.",
            {JSON: (FeedbackTold,)},
            (FeedbackRequest,),
            (404, 409),
        ),
        Operation("GET", "/v1/models", "judge", plain.models, "The arms, as models.", {JSON: (ModelList,)}),
        Operation(
            "GET",
            "/v1/judgments/{id}",
            "judge|admin",
            plain.judgment,
            "An earlier judgment with its texts and calls.",
            {JSON: (Kept,)},
            (),
            (404,),
        ),
        Operation("GET", "/metrics", "admin", plain.metrics, "Figures for Prometheus.", {TEXT: ()}),
        Operation("GET", "/healthz", None, plain.alive, "Whether the process answers.", health),
        Operation("GET", "/readyz", None, plain.ready, "Whether requests should be sent here.", health),
    ]
