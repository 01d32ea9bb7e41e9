"""What is posted and what is answered, field by field: the types behind /openapi.json.

Costs are US dollars unless a unit is said, tokens are tokens. Unknown fields are refused where a typo would go
unnoticed (a judgment's request) and ignored where other programs post (a trainer's).
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adjudge.gateway.problems import Told
from adjudge.gateway.relay import Draws, Limit
from adjudge.types import Outcome, Side

MOST_ITEMS = 1000
MOST_RESPONSES = 64
Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Seconds = Annotated[float, Meta(ge=0.1, le=3600)]
JudgmentId = Annotated[str, Meta(pattern="^jdg_[0-9a-f]{32}$", description="Of an earlier judgment: its `id`.")]


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be judged: two responses to a prompt, or 1 to 64 `responses` to be rated by an arm that rates.

    `id` comes back as `item_id`; `gold` (the preferred side, where it is known), `domain`, `source` and `meta` are kept
    and never shown to a judge. `rubric` is read by arms that have none of their own.
    """

    prompt: Text
    response_a: str | None = None
    response_b: str | None = None
    responses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_RESPONSES)] | None = None
    rubric: Text | None = None
    id: Annotated[str, Meta(max_length=500)] | None = None
    gold: Side | None = None
    domain: Annotated[str, Meta(max_length=200)] = ""
    source: Annotated[str, Meta(max_length=200)] = ""
    meta: dict[str, Any] = {}


class JudgeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Items to be judged by one arm: its name, or "auto" for the router. `fallback`: arms that are asked in turn where
    it gives nothing (with "auto" the router's arms are, after those named). `deadline_s`: of each judgment."""

    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=MOST_ITEMS)]
    arm: Name = "auto"
    fallback: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    deadline_s: Seconds | None = None


class SingleRequest(Item, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item to be judged, its fields beside `arm`, `fallback` and `deadline_s`."""

    arm: Name = "auto"
    fallback: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()
    deadline_s: Seconds | None = None


class UsageTold(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict that was bought: in one presentation `order`, or one `draw` of a rating; `cost` in the router's
    unit."""

    arm: str
    outcome: Outcome
    order: str | None = None
    draw: int | None = None
    cost: float | None = None


class TriedTold(msgspec.Struct, frozen=True):
    """An arm that was asked first and gave nothing."""

    arm: str
    error: str


class Foretold(msgspec.Struct, frozen=True):
    """Why so much was bought. Costs are in mean costs of the router's first arm, rewards the probability of being
    right. `multiplier`: the reward that one more unit of cost must buy; `rung`: its place on the router's ladder."""

    rung: int
    multiplier: float
    predicted_reward: float
    predicted_gain: float
    predicted_cost: float


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why this was bought. `expected`: what the router foretold. `budget` and `mean_cost` (so far, of all that it
    bought): mean costs per judgment, in mean costs of `reference`, its first arm."""

    routed: bool = False
    router: str | None = None
    budget: float | None = None
    mean_cost: float | None = None
    reference: str | None = None
    expected: Foretold | None = None
    tried: tuple[TriedTold, ...] = ()


class Result(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="judgment"):
    """A judgment. `outcome`: A, B or tie; or why there is no verdict; null where responses were rated. `p_a`: of A
    being the better one. `scores`: per response, each draw's rating. `arm`: whose judgment it is; `bought`: its parts.
    `cached`: it was bought before, and costs nothing now. `index`: its place among the items."""

    id: str
    request_id: str
    outcome: Outcome | None
    p_a: float | None
    scores: tuple[tuple[float, ...], ...] | None
    arm: str
    bought: tuple[Piece, ...]
    why: Why
    usage: UsageTold
    cost_usd: float | None
    cached: bool
    index: int = 0
    item_id: str | None = None
    error: None = None


class Unjudged(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="failure"):
    """An item of a batch that got no judgment, and why; `retry_after_s`: when it may go well."""

    index: int
    request_id: str
    error: Told
    outcome: Outcome = Outcome.FAILED
    item_id: str | None = None
    retry_after_s: float | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """All items in their order, with the sums of what was bought now. `unpriced`: judgments whose cost is not known."""

    request_id: str
    results: tuple[Result | Unjudged, ...]
    judged: int
    failed: int
    cached: int
    usage: UsageTold
    cost_usd: float
    unpriced: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="done"):
    """The last line of a stream."""

    request_id: str
    judged: int
    failed: int
    cached: int
    usage: UsageTold
    cost_usd: float
    unpriced: int


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """An arm, as OpenAI's clients read a model."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "adjudge"
    arm: str = ""
    mode: str | None = None
    protocol: str | None = None
    arms: tuple[str, ...] = ()


class ModelList(msgspec.Struct, frozen=True):
    data: tuple[ModelCard, ...]
    object: str = "list"


class FeedbackRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preferred side of an earlier judgment's pair, from whoever knows. `note` is kept beside it."""

    id: JudgmentId
    gold: Side
    note: Annotated[str, Meta(max_length=2000)] = ""


class FeedbackTold(msgspec.Struct, frozen=True, kw_only=True):
    """`reward`: 1 where the judgment was right, 0.5 for a tie, 0 otherwise."""

    id: str
    gold: Side
    outcome: Outcome
    reward: float


class CallTold(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a model and what came back."""

    kind: str
    arm: str
    order: str | None
    response_index: int | None
    sample: int
    outcome: Outcome | None
    value: float | None
    text: str
    reasoning: str
    usage: UsageTold | None
    cost_usd: float | None
    latency_s: float
    attempts: int
    model: str | None
    error: str | None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A judgment as it is kept, texts and all. `cost_usd` is what it cost when it was bought."""

    id: str
    arm: str
    prompt: str | None
    response_a: str | None
    response_b: str | None
    responses: tuple[str, ...] | None
    rubric: str | None
    gold: Side | None
    domain: str
    source: str
    meta: dict[str, Any]
    outcome: Outcome | None
    p_a: float | None
    scores: tuple[tuple[float, ...], ...] | None
    cost_usd: float | None
    calls: tuple[CallTold, ...]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An OpenAI chat completion request; every other field goes to the arm's server as it is."""

    model: str
    messages: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1)]
    stream: bool | None = None
    n: Draws | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    stream_options: dict[str, Any] | None = None


class RewardItem(msgspec.Struct, frozen=True, kw_only=True):
    """A response to be scored. Arms that compare set the responses to one prompt (and rubric, and `group`) against
    each other."""

    prompt: Text
    response: str
    rubric: Text | None = None
    group: str = ""


class RewardGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All responses to one prompt."""

    prompt: Text
    responses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_RESPONSES)]
    rubric: Text | None = None


class RewardsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Responses to be scored, as `items` and as `groups`. `arm`: the reward arm where it is left out."""

    items: Annotated[tuple[RewardItem, ...], Meta(max_length=MOST_ITEMS)] = ()
    groups: Annotated[tuple[RewardGroup, ...], Meta(max_length=MOST_ITEMS)] = ()
    arm: Name | None = None
    deadline_s: Seconds | None = None


class TrainerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenRLHF posts: `query` is the prompt with its response, marks of the tokenizer included. The arm is named
    in the address: /v1/rewards?arm=NAME."""

    query: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_ITEMS)]
    prompts: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MOST_ITEMS)]


class RewardsTold(msgspec.Struct, frozen=True, kw_only=True):
    """`scores` of the items, `groups` of the groups, in their order: 0 to 9 by an arm that rates, the share of the
    other responses that it beats (0 to 1) by one that compares; null where there is no verdict, and then `why` and
    `group_whys` say what became of it ("" elsewhere)."""

    request_id: str
    arm: str
    scores: tuple[float | None, ...]
    why: tuple[str, ...]
    groups: tuple[tuple[float | None, ...], ...]
    group_whys: tuple[tuple[str, ...], ...]
    judged: int
    failed: int
    cached: int
    cost_usd: float
    unpriced: int


class TrainerRewards(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenRLHF reads: a number for each; `extra_logs.judged` is 0 where it stands in for a verdict that there is
    none of (the mean of the others of its prompt)."""

    rewards: tuple[float, ...]
    scores: tuple[float, ...]
    extra_logs: dict[str, tuple[float, ...]]


class Health(msgspec.Struct, frozen=True):
    status: str
