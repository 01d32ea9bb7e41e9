"""A fitted router at work on pairs that nobody has judged: it buys step by step what it asks for.

    judging = Live(name, saved, settings, steering).judge(pair)     a conversation like those of judging/judge.py

Each purchase is a judgment of one arm in a single presentation order, or a single draw of a rating arm, read into the
same numbers as recorded ones (table.py) and handed back to the router until it stops. Which order comes first is drawn
by a hash of the pair's id, but for an arm that runs in one order only.

The judgment over all of them holds every call, and as tokens and dollars the sum of what was bought: it is one verdict.
Like that of a rating arm it has no order of its own, and is called "ab". Where something was never asked (a cap was
reached, a server given up) it is `failed`, whatever the rest said: it is not what the router would have decided.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import msgspec
import numpy as np

from adjudge.config import Arm, Settings
from adjudge.errors import BackendError, BudgetError, ConfigError
from adjudge.judging import fencing, settle
from adjudge.judging.judge import Judging, judge
from adjudge.judging.protocol import Mark
from adjudge.routing.ambiguity import Array
from adjudge.routing.deciding import unbought, uniform
from adjudge.routing.evidence import following, weigh
from adjudge.routing.features import Embedder, extract
from adjudge.routing.router import STOP
from adjudge.routing.saved import Card, Saved
from adjudge.routing.steering import Steering
from adjudge.routing.strength import named, ratings
from adjudge.routing.table import CostUnit, Purchase, Seen, cost_of, said_by
from adjudge.types import NOT_BOUGHT, Ask, Judgment, Order, Outcome, Pair, Price, Reply, digest

LONG_TEXT = 20_000  # characters, from which on features are made in a thread
LETTERS = 8  # responses that a best-of-n verdict may name, [[A]] to [[H]]
_BILLED = ("prompt_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_usd")


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """A purchase that was made. `said`, `rating_R` as in `Seen`; `cost` in the router's unit, as it was counted."""

    u: int
    purchase: Purchase
    judgment: Judgment
    said: float
    rating_R: Array | None
    cost: float

    @property
    def unasked(self) -> bool:
        """Whether something of it was not asked at all."""
        return any(call.error is not None and not call.attempts for call in self.judgment.calls)


def arm_of(name: str, card: Card, settings: Settings, budget: float) -> Arm:
    """The router as an arm, whose key changes with the router, the budget (in reference costs) and what it may buy."""
    bought = tuple(dict.fromkeys(arm for arm, _, _ in card.purchases))
    return Arm(
        name=name,
        server=settings.arms[bought[0]].server,
        protocol="route",
        choices=bought,
        price=Price(0.0, 0.0),  # it asks nothing itself
        extra={"router": digest(msgspec.to_builtins(card)), "budget": budget},
    )


def check_draws(card: Card, settings: Settings, where: str) -> None:
    """Raises ConfigError for an arm that was fitted on ratings and gives none."""
    for arm in dict.fromkeys(arm for arm, _, draw in card.purchases if draw is not None):
        found = settings.arms[arm]
        if found.protocol != "pointwise" and settings.servers[found.server].kind != "replay":
            raise ConfigError(
                f"{where}: the router was fitted on ratings by {arm}, and arms.{arm} compares (protocol "
                f'{found.protocol!r}); give it protocol = "pointwise", or fit the router again'
            )


class Live:
    """A router under a name. For one event loop; `judge` alone may be called in other threads.

    `steering` says which rung each pair gets. What was done so far is counted: `judgments` that were made whole, what
    they `spent` (in the router's unit), how many of them bought each arm, and `refused` ones that could not be paid.
    `on_features` is told of each pair and its features, shape (1, D), by the thread that `judge` was called in.
    """

    def __init__(
        self,
        arm: Arm,
        saved: Saved,
        settings: Settings,
        steering: Steering,
        *,
        embedder: Embedder | None = None,
        mark: Mark = fencing.nonce,
    ) -> None:
        self.arm, self.card, self._router = arm, saved.card, saved.router
        self.steering = steering
        self._settings, self._embedder, self._mark = settings, embedder, mark
        self.on_features: Callable[[Pair, Array], None] = lambda pair, x_ND: None  # noqa: ARG005
        self._unit = cast(CostUnit, saved.card.cost_unit)
        self._rungs = sorted(range(len(saved.router.rungs)), key=lambda k: saved.router.rungs[k].cost)
        self._cheapest = min(following(saved.router.purchases, ()), key=lambda u: (saved.card.mean_costs[u], u))
        self._variant = cache(lambda order, draw: _variant(settings, order, draw))
        self.judgments = self.refused = 0
        self.spent = 0.0
        self.arms_bought: Counter[str] = Counter()

    async def begin(self, pair: Pair) -> Judging:
        """As `judge`, which runs in a thread where it takes long."""
        if self._embedder is None and sum(map(len, (pair.prompt or "", *pair.texts))) <= LONG_TEXT:
            return self.judge(pair)  # a thread would wait longer for the interpreter than it works
        return await asyncio.to_thread(self.judge, pair)

    def judge(self, pair: Pair) -> Judging:
        """Begins the judgment of a pair: describes it, by a server of embeddings where the router reads them."""
        try:
            x_ND = extract([pair], self._embedder).x_ID if self.card.features else np.empty((1, 0))
        except BackendError as error:
            return _nothing(settle.unjudged(self.arm.name, ("ab",), Outcome.FAILED, str(error)))
        self.on_features(pair, x_ND)
        return self._routed(pair, x_ND)

    def _routed(self, pair: Pair, x_ND: Array) -> Judging:
        try:
            turn = self.steering.begin(pair.id)
        except BudgetError as error:
            self.refused += 1
            return settle.unjudged(self.arm.name, ("ab",), Outcome.FAILED, f"{NOT_BOUGHT}: {error}")
        made: list[Made] = []
        rung, draw_N = turn.rung, np.array([uniform("draw", pair.id)])
        try:
            while not made or not made[-1].unasked:
                rung, u = self._next(self._seen(pair, x_ND, made), rung, draw_N)
                if u == STOP:
                    break
                made.append((yield from self._buy(pair, u)))
        finally:
            cost = math.fsum(one.cost for one in made)
            asked = any(call.attempts for one in made for call in one.judgment.calls)
            self.steering.end(turn, cost if asked else None)
        if not made[-1].unasked:
            self.judgments += 1
            self.spent += cost
            self.arms_bought.update({one.purchase.arm for one in made})
        # a cheapest purchase that no rung asked for speaks for itself
        weight_U = np.ones(len(self._router.purchases)) if rung == STOP else self._router.weights(rung)
        wins_R = weigh(self._seen(pair, x_ND, made), weight_U).wins_NR[0]
        return self._judgment(made, _outcome(pair, wins_R, made), rung, cost)

    def _next(self, seen: Seen, rung: int, draw_N: Array) -> tuple[int, int]:
        """(rung, purchase or STOP): what the rung asks for, or where that cannot be paid the dearest rung below it that
        can go on or would stop. Where nothing was bought the cheapest purchase, under rung STOP."""
        if rung == STOP:
            return STOP, STOP
        any_bought = bool(seen.bought_NU.any())
        for k in reversed(self._rungs[: self._rungs.index(rung) + 1]):
            u = int(self._router.decide(seen, k, draw_N)[0])
            stops = u == STOP or bool(seen.bought_NU[0, u])
            if stops and any_bought:
                return k, STOP
            if not stops and self.steering.affords(u):
                return k, u
        return (rung, STOP) if any_bought else (STOP, self._cheapest)

    def _buy(self, pair: Pair, u: int) -> Generator[tuple[Ask, ...], tuple[Reply, ...], Made]:
        purchase = self._router.purchases[u]
        settings = self._variant(self._order(pair, purchase), purchase.draw)
        held, cost = self.steering.hold(u), 0.0
        try:
            judgment = yield from judge(pair, settings.arms[purchase.arm], settings, mark=self._mark)
            if purchase.draw is not None:
                judgment = _one_draw(judgment, purchase.draw)
            cost = cost_of(judgment, self._unit)
        finally:
            counted = self.steering.pay(u, held, cost)
        order: Order = "ab" if judgment.ab is not None else "ba"
        # where both orders were fitted on, p_a was not a part of the strength
        both = Purchase(purchase.arm, 1) in self._router.purchases
        said = said_by(msgspec.structs.replace(judgment, p_a=None) if both else judgment, order)
        rating_R = _rating(judgment, order) if self.card.responses else None
        return Made(u, purchase, judgment, said, rating_R, counted)

    def _order(self, pair: Pair, purchase: Purchase) -> Order:
        orders = self._settings.arms[purchase.arm].orders
        if purchase.draw is not None:
            return "ab"
        drawn: Order = "ab" if uniform("order", pair.id) < 0.5 else "ba"
        first: Order = drawn if orders == "both" else orders
        return first if purchase.order == 0 else ("ba" if first == "ab" else "ab")

    def _seen(self, pair: Pair, x_ND: Array, made: list[Made]) -> Seen:
        found = [len(one.rating_R) for one in made if one.rating_R is not None]
        width = max(self.card.responses, len(pair.texts), *found, 0) if self.card.responses else 0
        seen = unbought(x_ND, len(self._router.purchases), width)
        for one in made:
            seen.bought_NU[0, one.u] = True
            seen.cost_NU[0, one.u] = one.cost
            if seen.rating_NUR is None:
                seen.said_NU[0, one.u] = one.said
            elif one.rating_R is not None:
                seen.rating_NUR[0, one.u, : len(one.rating_R)] = one.rating_R
        return seen

    def _judgment(self, made: list[Made], outcome: Outcome, rung: int, cost: float) -> Judgment:
        parts = [one.judgment for one in made]
        calls = tuple(call for part in parts for call in part.calls)
        rated = [part.scores for one, part in zip(made, parts, strict=True) if one.purchase.draw is not None]
        scores = [of_one for of_one in rated if of_one is not None]
        errors = [part.error for part in parts if part.error is not None]
        extra = {
            "router": self.arm.extra["router"],
            "budget": self.arm.extra["budget"],
            "rung": rung,
            "cost": cost,
            "bought": [_told(one) for one in made],
        }
        return Judgment(
            arm=self.arm.name,
            ab=outcome,
            p_a=parts[0].p_a if len(parts) == 1 else None,  # several judges' weights say who wins, not how surely
            completion_ab=settle.joined([part.completion_ab or part.completion_ba or "" for part in parts], outcome),
            reasoning_ab=settle.joined([part.reasoning_ab or part.reasoning_ba or "" for part in parts]),
            scores=tuple(tuple(s for some in of_one for s in some) for of_one in zip(*scores, strict=True)) or None,
            error=next((error for error in errors if error.startswith(NOT_BOUGHT)), errors[0] if errors else None),
            extra={"route": extra},
            calls=calls,
            **_bill(parts),
        )


def _nothing(judgment: Judgment) -> Judging:
    """A conversation in which nothing is asked."""
    yield from ()
    return judgment


def _variant(settings: Settings, order: Order, draw: int | None) -> Settings:
    """The settings with every arm as it is bought: in one order, or one draw of it, seeded like that draw of several.

    All arms, since self-routing asks others in turn.
    """
    arms = {}
    for name, arm in settings.arms.items():
        if draw is None:
            arms[name] = msgspec.structs.replace(arm, orders=order)
        else:
            seed = None if arm.sampling.seed is None else arm.sampling.seed + draw
            sampling = msgspec.structs.replace(arm.sampling, seed=seed)
            arms[name] = msgspec.structs.replace(arm, orders="ab", samples=1, sampling=sampling)
    return msgspec.structs.replace(settings, arms=arms)


def _one_draw(judgment: Judgment, draw: int) -> Judgment:
    """The judgment of one draw. A replay answers with all that were recorded: the one that is meant, at its share."""
    calls = tuple(msgspec.structs.replace(call, sample=draw) for call in judgment.calls)
    found = ratings(judgment)
    recorded = max(map(len, found), default=1)
    if recorded <= 1:
        return msgspec.structs.replace(judgment, calls=calls, scores=found or None)
    bill = {name: None if (all_of := getattr(judgment, name)) is None else all_of / recorded for name in _BILLED}
    scores = tuple(some[draw : draw + 1] for some in found)
    return msgspec.structs.replace(judgment, calls=calls, scores=scores, **bill)


def _rating(judgment: Judgment, order: Order) -> Array | None:
    """The rating of each response, NaN where there is none; a verdict that names one rates it 1 and the others 0."""
    if found := ratings(judgment):
        return np.array([some[0] if some else np.nan for some in found])
    outcome = judgment.ab if order == "ab" else judgment.ba
    place = named(judgment, order) if outcome is not None and outcome.is_verdict else None
    return None if place is None else np.asarray(np.arange(LETTERS) == place, float)


def _outcome(pair: Pair, wins_R: Array, made: list[Made]) -> Outcome:
    """Who wins, of those at the top; of a best-of-n instance the right response is one side and all others the other.

    Where responses were named, their sides are what the verdicts that named them say. Without a verdict: the most
    serious of what became of the purchases.
    """
    found = [one.judgment.outcome for one in made]
    if any(one.unasked for one in made):
        return Outcome.FAILED
    places = np.flatnonzero(wins_R).tolist()
    if not places:
        return next((outcome for outcome in settle.WORST_FIRST if outcome in found), Outcome.UNREAD)
    voted = [one for one in made if one.rating_R is not None and one.purchase.draw is None]
    if voted:
        sides = {one.judgment.outcome for one in voted if set(_top(one)) & set(places)}
    elif pair.gold_index is msgspec.UNSET:
        sides = {Outcome.A if place == 0 else Outcome.B for place in places}
    else:
        assert pair.gold is not None  # a best-of-n instance is judged where its right response is known
        right = Outcome(pair.gold)
        sides = {right if place == pair.gold_index else right.swapped() for place in places}
    return sides.pop() if len(sides) == 1 else Outcome.TIE


def _top(one: Made) -> list[int]:
    assert one.rating_R is not None
    found: list[int] = np.flatnonzero(one.rating_R == 1).tolist()
    return found


def _told(one: Made) -> dict[str, Any]:
    where = {"draw": one.purchase.draw}
    if one.purchase.draw is None:
        where = {"order": "ab" if one.judgment.ab is not None else "ba"}  # type: ignore[dict-item]
    return {"arm": one.purchase.arm, **where, "outcome": one.judgment.outcome.value, "cost": one.cost}


def _bill(parts: Iterable[Judgment]) -> dict[str, Any]:
    """Tokens and dollars: the sums over all that was bought, None where one of them is not known."""
    columns = {name: [getattr(part, name) for part in parts] for name in _BILLED}
    return {name: None if None in found else sum(found) for name, found in columns.items()}
