"""What is short to answer: the models there are, earlier judgments, feedback, metrics, health."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from adjudge.config import Settings
from adjudge.gateway.asgi import Answer, Call, plain
from adjudge.gateway.problems import Problem
from adjudge.gateway.shapes import (
    CallTold,
    FeedbackRequest,
    FeedbackTold,
    Kept,
    ModelCard,
    ModelList,
    UsageTold,
)
from adjudge.gateway.shelf import Shelf
from adjudge.gateway.telemetry import Metrics
from adjudge.store.lookup import Found
from adjudge.types import Judgment, Side, reward

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed  # routing takes seconds to import

MODEL_PREFIX = "adjudge/"
ID_PREFIX = "jdg_"
FEEDBACK = "feedback"
_ID = re.compile(ID_PREFIX + "([0-9a-f]{32})")


class PlainApi:
    """`unready`: why no requests should be sent here now, "" where they should."""

    def __init__(
        self, settings: Settings, shelf: Shelf, metrics: Metrics, routed: "Routed | None", unready: Callable[[], str]
    ) -> None:
        self._shelf, self._metrics, self._unready = shelf, metrics, unready
        self.on_label: Callable[[str, Judgment, Side], None] = lambda key, judgment, gold: None  # noqa: ARG005
        self._models = plain(ModelList(tuple(models(settings, routed))))

    async def models(self, call: Call) -> Answer:  # noqa: ARG002 -- the same for all
        return self._models

    async def judgment(self, call: Call) -> Answer:
        found = await self._found(call.path["id"])
        return plain(kept(call.path["id"], found))

    async def feedback(self, call: Call) -> Answer:
        """The label is kept as the gold of the judgment's pair; the last one given counts."""
        try:
            given = msgspec.json.decode(call.body, type=FeedbackRequest)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(400, "invalid_request", str(error)) from None
        except RecursionError:
            raise Problem(400, "invalid_request", "JSON is nested too deeply") from None
        found = await self._found(given.id)
        if found.pair.responses is not None:
            raise Problem(409, "no_pair", "responses were rated there: no side of it can be the preferred one")
        said = {"gold": given.gold} | ({"note": given.note} if given.note else {})
        said |= {"key": call.caller.account} if call.caller.account else {}
        meta = {**found.pair.meta, FEEDBACK: said}
        await self._shelf.relabel(msgspec.structs.replace(found.pair, gold=given.gold, meta=meta))
        self.on_label(given.id.removeprefix(ID_PREFIX), found.judgment, given.gold)
        outcome = found.judgment.outcome
        call.notes |= {"arm": found.judgment.arm}
        return plain(FeedbackTold(id=given.id, gold=given.gold, outcome=outcome, reward=reward(outcome, given.gold)))

    async def metrics(self, call: Call) -> Answer:  # noqa: ARG002
        return Answer(self._metrics.text(), media=self._metrics.media)

    async def alive(self, call: Call) -> Answer:  # noqa: ARG002
        return plain({"status": "ok"})

    async def ready(self, call: Call) -> Answer:  # noqa: ARG002
        why = self._unready()
        if why:
            raise Problem(503, "not_ready", why, retry_after_s=5)
        return plain({"status": "ok"})

    async def _found(self, judgment_id: str) -> Found:
        named = _ID.fullmatch(judgment_id)
        found = None if named is None else await self._shelf.whole(named[1])
        if found is None:
            raise Problem(404, "judgment_not_found", "there is no such judgment", param="id")
        return found


def models(settings: Settings, routed: "Routed | None") -> list[ModelCard]:
    """Every arm that judges, and the router as `auto`."""
    found = []
    if routed is not None:
        found.append(ModelCard(id=f"{MODEL_PREFIX}auto", arm=routed.name, protocol="route", arms=routed.arms))
    for arm in settings.arms.values():
        if arm.protocol not in ("rubric", "route"):
            found.append(
                ModelCard(
                    id=MODEL_PREFIX + arm.name,
                    arm=arm.name,
                    mode=arm.mode,
                    protocol=arm.protocol,
                    arms=arm.choices or (),
                )
            )
    return found


def kept(judgment_id: str, found: Found) -> Kept:
    """A judgment as the store has it, for its reader."""
    pair, judgment = found
    calls = tuple(
        CallTold(
            usage=None if call.usage is None else UsageTold(*msgspec.structs.astuple(call.usage)),
            **{n: getattr(call, n) for n in CallTold.__struct_fields__ if n != "usage"},
        )
        for call in judgment.calls
    )
    rated = pair.responses is not None and judgment.outcome.is_verdict
    return Kept(
        id=judgment_id,
        arm=judgment.arm,
        prompt=pair.prompt,
        response_a=pair.response_a,
        response_b=pair.response_b,
        responses=pair.responses,
        rubric=pair.rubric,
        gold=pair.gold,
        domain=pair.domain,
        source=pair.source,
        meta=pair.meta,
        outcome=None if rated else judgment.outcome,
        p_a=None if pair.responses is not None else judgment.p_a,
        scores=judgment.scores,
        cost_usd=judgment.cost_usd,
        calls=calls,
    )
