"""POST /v1/judge: one item or a batch, whole or as the judgments come."""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from adjudge.errors import AdjudgeError
from adjudge.gateway.asgi import EVENTS, JSON, NDJSON, Answer, Call, Streamed, plain
from adjudge.gateway.desk import Desk, Judged
from adjudge.gateway.problems import Problem, problem_of
from adjudge.gateway.shapes import (
    Batch,
    Done,
    Foretold,
    Item,
    JudgeRequest,
    Piece,
    Result,
    SingleRequest,
    TriedTold,
    Unjudged,
    UsageTold,
    Why,
)
from adjudge.gateway.telemetry import Metrics
from adjudge.judging.driver import cancelled
from adjudge.types import Judgment, Pair, Usage, digest

if TYPE_CHECKING:
    from adjudge.gateway.routed import Routed  # routing takes seconds to import

AUTO = "auto"
ITEM_ID = "item_id"  # of a pair's meta: what the caller calls it
_batch = msgspec.json.Decoder(JudgeRequest)
_single = msgspec.json.Decoder(SingleRequest)
_encode = msgspec.json.Encoder().encode


class _Failed(NamedTuple):
    problem: Problem
    item_id: str | None


class JudgeApi:
    """`routed`: who decides for "auto", None where there is no router."""

    def __init__(self, desk: Desk, metrics: Metrics, routed: "Routed | None") -> None:
        self.desk, self._metrics, self._routed = desk, metrics, routed

    async def post(self, call: Call) -> Answer | Streamed:
        request, single = read(call.body)
        arm, fallback = self.chain(request.arm, request.fallback)
        pairs = [pair_of(item) for item in request.items]
        self.desk.room.check(len(pairs))
        deadline_s = request.deadline_s or self.desk.deadline_s
        call.notes |= {"arm": request.arm, "items": len(pairs)}
        media = next((m for m in (NDJSON, EVENTS) if call.accepts(m)), JSON)
        work = [self._result_of(call, arm, fallback, deadline_s, i, p) for i, p in enumerate(pairs)]
        if media != JSON:
            return Streamed(self._stream(call, work, media), media)
        if single:
            found = await work[0]
            if isinstance(found, _Failed):
                raise found.problem
            self._note(call, [found])
            return plain(found)
        told = [_told(call, i, one) for i, one in enumerate(await asyncio.gather(*work))]
        sums = self._note(call, told)
        return plain(Batch(request_id=call.id, results=tuple(told), **sums))

    def chain(self, arm: str, fallback: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """The arm, and those that are fallen back to. Raises Problem 404 and 400."""
        arms = self.desk.settings.arms
        for place, name in enumerate((arm, *fallback)):
            if name == AUTO and place == 0:
                continue
            if name not in arms or arms[name].protocol in ("rubric", "route"):
                raise Problem(
                    404, "model_not_found", f"there is no arm {name!r} that judges; see /v1/models", param="arm"
                )
        if arm != AUTO:
            return arm, tuple(fallback)
        if self._routed is None:
            raise Problem(400, "no_router", 'this gateway has no router: name an arm instead of "auto"', param="arm")
        return self._routed.name, tuple(dict.fromkeys((*fallback, *self._routed.arms)))

    async def judged(self, pair: Pair, arm: str, call: Call, deadline_s: float, fallback: Sequence[str]) -> Judged:
        """The desk's judgment, entered in the metrics. Raises what `Desk.judge` raises."""
        judged = await self.desk.judge(pair, arm, call.caller, deadline_s, fallback)
        if judged.cached:
            self._metrics.cached.labels(judged.arm).inc()
        for one in judged.tried:
            self._metrics.fallbacks.labels(one.arm).inc()
        return judged

    async def _result_of(
        self, call: Call, arm: str, fallback: Sequence[str], deadline_s: float, index: int, pair: Pair
    ) -> "Result | _Failed":
        try:
            judged = await self.judged(pair, arm, call, deadline_s, fallback)
        except Problem as problem:
            return _Failed(problem, pair.meta.get(ITEM_ID))
        except AdjudgeError as error:
            return _Failed(problem_of(error), pair.meta.get(ITEM_ID))
        return self._result(call, index, pair, judged)

    def _result(self, call: Call, index: int, pair: Pair, judged: Judged) -> Result:
        judgment = judged.judgment
        unverdict = pair.responses is not None and judgment.outcome.is_verdict
        usage, cost = bill(judged)
        return Result(
            id=f"jdg_{judged.key}",
            request_id=call.id,
            outcome=None if unverdict else judgment.outcome,
            p_a=None if pair.responses is not None else judgment.p_a,
            scores=judgment.scores,
            arm=judged.arm,
            bought=_pieces(judgment),
            why=self._why(pair, judged),
            usage=usage,
            cost_usd=cost,
            cached=judged.cached,
            index=index,
            item_id=pair.meta.get(ITEM_ID),
        )

    def _why(self, pair: Pair, judged: Judged) -> Why:
        routed = self._routed
        tried = tuple(TriedTold(one.arm, one.error) for one in judged.tried)
        if routed is None or judged.arm != routed.name:
            return Why(tried=tried)
        route = judged.judgment.extra.get("route", {})
        expected: Foretold | None = None
        if not judged.cached and isinstance(route.get("rung"), int):
            expected = routed.foretold(pair, route["rung"])
        return Why(
            routed=True,
            router=routed.name,
            budget=routed.routing.budget,
            mean_cost=routed.spent_mean,
            reference=routed.card.arms[0],
            expected=expected,
            tried=tried,
        )

    async def _stream(self, call: Call, work: Sequence[Any], media: bytes) -> AsyncGenerator[bytes, None]:
        """Results as they come; when the caller is gone nobody waits for them any more."""
        tasks = [asyncio.ensure_future(_indexed(i, one)) for i, one in enumerate(work)]
        told = []
        try:
            for coming in asyncio.as_completed(tasks):
                index, found = await coming
                one = _told(call, index, found)
                told.append(one)
                yield _framed(one, "result", media)
            yield _framed(Done(request_id=call.id, **self._note(call, told)), "done", media)
        finally:
            await cancelled(tasks)

    def _note(self, call: Call, told: Sequence[Result | Unjudged]) -> dict[str, Any]:
        """The sums of a batch, entered in the request's line of the log."""
        found = sums_of(told)
        call.notes |= {"judged": found["judged"], "failed": found["failed"], "cached": found["cached"]}
        call.notes["cost_usd"] = found["cost_usd"]
        return found


def read(body: bytes) -> tuple[JudgeRequest, bool]:
    """The request, and whether it was a single item. Raises Problem 400."""
    try:
        whole = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "items" in whole:
            return _batch.decode(body), False
        one = _single.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        kind = "" if isinstance(error, msgspec.ValidationError) else "the body is not JSON: "
        raise Problem(400, "invalid_request", f"{kind}{error}") from None
    except RecursionError:
        raise Problem(400, "invalid_request", "JSON is nested too deeply") from None
    return JudgeRequest(items=(one,), arm=one.arm, fallback=one.fallback, deadline_s=one.deadline_s), True


def pair_of(item: Item) -> Pair:
    """The pair of an item, its id made of what is judged: whoever asks for the same gets the same judgment.

    Raises Problem 400 where it is neither a pair nor responses to rate.
    """
    sides = [side is not None for side in (item.response_a, item.response_b)]
    if sides != [item.responses is None] * 2:
        raise Problem(400, "invalid_request", "give response_a and response_b, or responses; not both", param="items")
    meta = item.meta if item.id is None else {**item.meta, ITEM_ID: item.id}
    texts = item.responses if item.responses is not None else (item.response_a, item.response_b)
    return Pair(
        id="g-" + digest(item.prompt, texts, item.rubric, item.responses is None)[:20],
        prompt=item.prompt,
        response_a=item.response_a,
        response_b=item.response_b,
        responses=item.responses,
        rubric=item.rubric,
        gold="A" if item.responses is not None else item.gold,
        gold_index=msgspec.UNSET if item.responses is None else 0,
        domain=item.domain,
        source=item.source,
        meta=meta,
    )


def sums_of(told: Sequence[Result | Unjudged]) -> dict[str, Any]:
    found = [one for one in told if isinstance(one, Result)]
    return {
        "judged": len(found),
        "failed": len(told) - len(found),
        "cached": sum(one.cached for one in found),
        "usage": UsageTold(*(sum(getattr(one.usage, n) for one in found) for n in UsageTold.__struct_fields__)),
        "cost_usd": math.fsum(one.cost_usd for one in found if one.cost_usd is not None),
        "unpriced": sum(one.cost_usd is None for one in found),
    }


def _told(call: Call, index: int, found: "_Failed | Result") -> Result | Unjudged:
    if isinstance(found, Result):
        return found
    why = found.problem
    return Unjudged(
        index=index, request_id=call.id, item_id=found.item_id, error=why.told, retry_after_s=why.retry_after_s
    )


async def _indexed(index: int, work: Any) -> tuple[int, "Result | _Failed"]:
    return index, await work


def bill(judged: Judged) -> tuple[UsageTold, float | None]:
    """What was bought now."""
    if judged.cached:
        return UsageTold(), 0.0
    usages = [call.usage for call in judged.judgment.calls if call.usage is not None]
    return UsageTold(*msgspec.structs.astuple(sum(usages, Usage()))), judged.judgment.cost_usd


def _pieces(judgment: Judgment) -> tuple[Piece, ...]:
    route = judgment.extra.get("route")
    if route is not None:
        return tuple(msgspec.convert(piece, Piece) for piece in route["bought"])
    orders = (("ab", judgment.ab), ("ba", judgment.ba))
    return tuple(Piece(arm=judgment.arm, outcome=o, order=n) for n, o in orders if o is not None)


def _framed(value: Result | Unjudged | Done, event: str, media: bytes) -> bytes:
    body = _encode(value)
    return body + b"\n" if media == NDJSON else b"event: " + event.encode() + b"\ndata: " + body + b"\n\n"
