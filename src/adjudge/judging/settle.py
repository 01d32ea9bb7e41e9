"""Calls -> a Judgment: outcomes per order, the share of the vote, ratings, and what all of it cost. Pure.

Rules
- *Draws.* A question and its repair are one draw. The repair's answer counts if it is one; else the draw is what its
  first reply was. Draws that gave no answer never vote.
- *Pairwise.* An order's outcome is the one most draws that can be read agree on; a shared first place is a tie. `p_a`
  of an order is the mean over its readable draws, that of the judgment the mean over its orders; None unless every
  order that was run has a readable draw.
- *Pointwise.* The response with the higher mean rating wins, equal means are a tie. Of a best-of-n instance the gold
  side wins if its response alone has the highest mean, it is a tie if that shares the first place, else the other side
  wins. `p_a` is the share of draws won by A, a first place shared by m responses counting 1/m; a draw counts where all
  responses have a rating. A response without any rating makes the judgment what became of its draws.
- *No verdict.* Where no draw can be read, the outcome is the most serious one: failed, refused, truncated, unread.
- *Tokens* are per verdict: the sum over all calls (rubric, need, repair and each sample) divided by the orders run.
  They are None where some call's are unknown. A call that failed without an attempt that may have been billed cost
  nothing. `cost_usd` is the sum over all calls, each at the price of the arm that made it.
- *Texts.* `completion_*` is the reply's text; with a repair, both, parted by a line `---`; with several samples, a JSON
  list of these. For pointwise arms it is {"scores_by_response": [[..], ..], "texts": [[..], ..]},
  null for a draw that could not be read.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from adjudge.config import Arm
from adjudge.judging.reading import Reading
from adjudge.types import Ask, Call, Judgment, Number, Order, Outcome, Pair, Price, Reply, Usage

WORST_FIRST = (Outcome.FAILED, Outcome.REFUSED, Outcome.TRUNCATED, Outcome.UNREAD)


class Draw(NamedTuple):
    """One question's call, and its repair where there was one."""

    call: Call
    repair: Call | None = None

    @property
    def final(self) -> Call:
        """The call that counts."""
        return self.repair if self.repair is not None and _answered(self.repair) else self.call

    @property
    def text(self) -> str:
        return self.call.text if self.repair is None else f"{self.call.text}\n\n---\n\n{self.repair.text}"

    @property
    def reasoning(self) -> str:
        both = (self.call.reasoning, self.repair.reasoning if self.repair else "")
        return "\n\n---\n\n".join(text for text in both if text)


def orders_of(arm: Arm) -> tuple[Order, ...]:
    """The presentation orders that an arm runs; rating one response at a time has a single one, called "ab"."""
    if arm.protocol == "pointwise":
        return ("ab",)
    return ("ab", "ba") if arm.orders == "both" else (arm.orders,)


def call_of(ask: Ask, reply: Reply, reading: Reading, price: Price | None) -> Call:
    """An Ask with its Reply as it is kept: read and priced."""
    usage = _billed(reply)
    cost: float | None = 0.0
    if usage is None or (price is None and usage != Usage()):
        cost = None
    elif price is not None:
        cost = price.cost_usd(usage)
    return Call(
        kind=ask.kind,
        arm=ask.arm,
        order=ask.order,
        response_index=ask.response_index,
        sample=ask.sample,
        outcome=reading.outcome,
        value=reading.value,
        p_a=reading.p_a,
        text=reply.text or reply.refusal or "",
        reasoning=reply.reasoning,
        finish_reason=reply.finish_reason,
        usage=usage,
        cost_usd=cost,
        latency_s=reply.latency_s,
        attempts=reply.attempts,
        unmetered_calls=reply.unmetered_calls,
        model=reply.model,
        error=reply.error,
    )


def unjudged(
    arm: str, orders: Sequence[Order], outcome: Outcome, error: str | None, calls: Sequence[Call] = ()
) -> Judgment:
    """A judgment that came to nothing before a verdict was asked for; what it cost until then is kept."""
    found = dict.fromkeys(orders, outcome)
    return Judgment(arm=arm, ab=found.get("ab"), ba=found.get("ba"), error=error, **_bill(tuple(calls), len(orders)))


def pairwise(arm: str, draws: Sequence[Draw], before: Sequence[Call] = ()) -> Judgment:
    """The judgment over the draws of one or two orders. `before`: the calls (rubric, need) that came first."""
    by_order: dict[Order, list[Draw]] = {}
    for draw in draws:
        by_order.setdefault(draw.call.order or "ab", []).append(draw)
    sides = {order: _side(some) for order, some in by_order.items()}
    ab, ba = sides.get("ab", _NOT_RUN), sides.get("ba", _NOT_RUN)
    shares = [side.p_a for side in sides.values()]
    calls = (*before, *_calls(draws))
    return Judgment(
        arm=arm,
        ab=ab.outcome,
        ba=ba.outcome,
        p_a=None if None in shares else _mean([share for share in shares if share is not None]),
        completion_ab=ab.text,
        completion_ba=ba.text,
        reasoning_ab=ab.reasoning,
        reasoning_ba=ba.reasoning,
        error=_first_error(calls),
        **_bill(calls, len(sides)),
    )


def pointwise(arm: str, pair: Pair, draws: Sequence[Draw], before: Sequence[Call] = ()) -> Judgment:
    """The judgment over the ratings of all responses; the pair's sides are known (`judge` sees to it)."""
    by_response: list[list[Draw]] = [[] for _ in pair.texts]
    for draw in draws:
        by_response[draw.call.response_index or 0].append(draw)
    scores = tuple(tuple(d.final.value for d in some if d.final.value is not None) for some in by_response)
    calls = (*before, *_calls(draws))
    outcome, p_a = _rated(pair, by_response, scores)
    telling = {
        "scores_by_response": [[_plain(d.final.value) for d in some] for some in by_response],
        "texts": [[d.text for d in some] for some in by_response],
    }
    return Judgment(
        arm=arm,
        ab=outcome,
        p_a=p_a,
        completion_ab=json.dumps(telling, ensure_ascii=False),
        reasoning_ab=joined([d.reasoning for some in by_response for d in some]),
        scores=scores,
        error=_first_error(calls),
        **_bill(calls, 1),
    )


class _Side(msgspec.Struct, gc=False, frozen=True):
    """What the draws of one order come to."""

    outcome: Outcome | None = None
    p_a: float | None = None
    text: str | None = None
    reasoning: str | None = None


_NOT_RUN = _Side()


def _side(draws: Sequence[Draw]) -> _Side:
    if len(draws) == 1 and draws[0].repair is None:  # nearly every judgment: spared the counting
        call = draws[0].call
        outcome = call.outcome or Outcome.UNREAD
        text = None if outcome is Outcome.FAILED and not call.text else call.text
        return _Side(outcome, call.p_a, text, call.reasoning or None)
    finals = [draw.final for draw in draws]
    outcome = _vote(finals)
    return _Side(
        outcome,
        _mean([call.p_a for call in finals if call.p_a is not None]),
        joined([draw.text for draw in draws], outcome),
        joined([draw.reasoning for draw in draws]),
    )


def _rated(
    pair: Pair, by_response: list[list[Draw]], scores: tuple[tuple[float, ...], ...]
) -> tuple[Outcome, float | None]:
    silent = [d.final for some, read in zip(by_response, scores, strict=True) if not read for d in some]
    index, side = (pair.gold_index, pair.gold) if pair.responses is not None else (0, "A")
    assert isinstance(index, int)
    assert side is not None
    rounds = [
        [d.final.value for d in at_once if d.final.value is not None] for at_once in zip(*by_response, strict=True)
    ]
    won = [_share(values, index) for values in rounds if len(values) == len(scores)]
    p_side = math.fsum(won) / len(won) if won else None
    p_a = p_side if p_side is None or side == "A" else 1 - p_side
    if silent:
        return _worst(silent), p_a
    share = _share([math.fsum(some) / len(some) for some in scores], index)
    if 0 < share < 1:
        return Outcome.TIE, p_a
    won_by_side = Outcome(side)
    return (won_by_side if share else won_by_side.swapped()), p_a


def _share(values: Sequence[float], index: int) -> float:
    """The share of the first place that the value at `index` holds: 1 alone, 1/m among m, 0 elsewhere."""
    best = max(values)
    return 1 / values.count(best) if values[index] == best else 0.0


def _plain(value: float | None) -> Number | None:
    return int(value) if value is not None and value.is_integer() else value


def _answered(call: Call) -> bool:
    return call.value is not None or (call.outcome is not None and call.outcome.is_verdict)


def _vote(calls: Sequence[Call]) -> Outcome:
    votes = [c.outcome for c in calls if c.outcome is not None and c.outcome.is_verdict]
    if not votes:
        return _worst(calls)
    if len(votes) == 1:
        return votes[0]
    (first, most), *rest = Counter(votes).most_common()
    return Outcome.TIE if rest and rest[0][1] == most else first


def _worst(calls: Iterable[Call]) -> Outcome:
    found = {call.outcome for call in calls}
    return next((outcome for outcome in WORST_FIRST if outcome in found), Outcome.UNREAD)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _calls(draws: Iterable[Draw]) -> list[Call]:
    return [call for draw in draws for call in draw if call is not None]


def joined(texts: Sequence[str], outcome: Outcome | None = None) -> str | None:
    """One text as it is, several as a JSON list, None for nothing at all; a call that failed may have said nothing."""
    if not any(texts) and outcome in (None, Outcome.FAILED):
        return None
    return texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False)


def _first_error(calls: Iterable[Call]) -> str | None:
    for call in calls:
        if call.error is not None:
            return call.error
    return None


def _billed(reply: Reply) -> Usage | None:
    """What a reply cost in tokens: nothing when it failed and no attempt may have been billed, None when unknown."""
    nothing = reply.error is not None and not reply.unmetered_calls
    return Usage() if reply.usage is None and nothing else reply.usage


def _bill(calls: tuple[Call, ...], orders: int) -> dict[str, Any]:
    """The fields of a judgment that say what it cost: tokens per verdict, whole where they can be."""
    costs = [cost for call in calls if (cost := call.cost_usd) is not None]
    usages = [usage for call in calls if (usage := call.usage) is not None]
    bill: dict[str, Any] = {"calls": calls, "cost_usd": math.fsum(costs) if len(costs) == len(calls) else None}
    if len(usages) == len(calls):
        total = usages[0] if len(usages) == 1 else sum(usages, Usage())
        bill |= msgspec.structs.asdict(total)
        if orders > 1:
            bill |= {n: bill[n] / orders if bill[n] % orders else bill[n] // orders for n in Usage.__struct_fields__}
    return bill
