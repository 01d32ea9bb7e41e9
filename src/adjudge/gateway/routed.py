"""The router at the gateway: it decides pair by pair what to buy, and the mean of what was settled holds its budget.

Judgments that are asked for with arm "auto" are `routing.live`'s. A chat completion is one call, so there the router
picks the one purchase that is worth most at the present multiplier, by what the messages' text tells. Both draw on one
pace, which begins where the ledger's totals of this router and budget stand: it survives a restart.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np

from adjudge.config import Arm, Settings
from adjudge.errors import BudgetError
from adjudge.gateway.ledger.values import Totals
from adjudge.gateway.purse import current
from adjudge.gateway.shapes import Foretold
from adjudge.judging.judge import Judging
from adjudge.routing import pacing
from adjudge.routing.ambiguity import Array
from adjudge.routing.deciding import Foretelling, foretell, unbought, uniform
from adjudge.routing.features import Embedder, extract
from adjudge.routing.live import LONG_TEXT, Live
from adjudge.routing.pacing import Pace, Pacer
from adjudge.routing.saved import Saved
from adjudge.routing.steering import Paced, Turn
from adjudge.routing.table import CostUnit, cost_of
from adjudge.types import Judgment, Pair, Usage

DESCRIBED = 4096  # pairs whose features are kept while they are judged


class Routing(NamedTuple):
    """A saved router as it was opened. `arm`: the router as an arm (`routing.live.arm_of`); `budget`: mean cost of a
    judgment, in mean costs of the router's first arm."""

    arm: Arm
    saved: Saved
    budget: float
    embedder: Embedder | None = None

    @property
    def account(self) -> str:
        """The ledger's account of what was bought by this router at this budget."""
        return f"route:{self.arm.extra['router'][:16]}:{self.budget:g}"


class Picked(NamedTuple):
    """One purchase for one call. `held`: what the pace holds for it."""

    arm: str
    turn: Turn
    u: int
    held: float
    why: Foretold


class _Capped(Paced):
    """Paced, and within what is put aside for the judgment: where that pays for less, less is bought."""

    @property
    def pacer(self) -> Pacer:
        return self._pacer

    def affords(self, u: int) -> bool:
        purse = current()
        in_purse = purse is None or not purse.purchases_usd or purse.affords(purse.purchases_usd[u])
        return in_purse and super().affords(u)

    def end(self, turn: Turn, cost: float | None) -> None:
        """Where nothing was asked there was no judgment, as in the ledger: who asks in vain while a server is down
        saves nothing that could be spent later."""
        if cost is None:
            self.pace = self.pace._replace(under_way=self.pace.under_way - 1)
        else:
            super().end(turn, cost)

    def charge(self, cost: float) -> None:
        """A judgment of an arm that was fallen back to."""
        paid = pacing.pay(self.pace, 0.0, cost)
        self.pace = paid._replace(judgments=paid.judgments + 1)


class Routed:
    """`before`: totals of its account. For one event loop."""

    def __init__(self, routing: Routing, plain: Settings, guided: Settings, before: Totals) -> None:
        self.routing = routing
        self.card, self._router = routing.saved.card, routing.saved.router
        self.unit = cast(CostUnit, self.card.cost_unit)
        self.budget_units = routing.budget * self.card.reference_cost
        pace = Pace(judgments=before.judgments, spent=before.units)
        self.steering = _Capped(self._router, self.card, self.budget_units, pace=pace)
        self._plain, self._guided = (
            Live(routing.arm, routing.saved, settings, self.steering, embedder=routing.embedder)
            for settings in (plain, guided)
        )
        self.arms = tuple(dict.fromkeys(arm for arm, _, _ in self.card.purchases))
        self._described: dict[str, Array] = {}  # by pair, until somebody asks what was foretold
        self.on_features: Callable[[Array], None] = lambda x_ND: None  # noqa: ARG005
        self._plain.on_features = self._guided.on_features = self._saw

    @property
    def name(self) -> str:
        return self.routing.arm.name

    @property
    def spent_mean(self) -> float | None:
        """Mean cost of a judgment so far, in mean costs of the router's first arm."""
        pace = self.steering.pace
        made = pace.judgments - pace.refused
        return pace.spent / made / self.card.reference_cost if made > 0 else None

    def multiplier(self) -> float:
        """The one that the next judgment is decided by, in rewards per mean cost of the first arm."""
        try:
            mixture = pacing.target(self.steering.pacer, self.steering.pace).mixture
        except BudgetError:
            mixture = [(0, 1.0)]
        rungs = self._router.rungs
        return sum(share * rungs[k].multiplier for k, share in mixture) * self.card.reference_cost

    async def begin(self, pair: Pair) -> Judging:
        """A judgment by the router. `on_features` gets what the pair is described by, shape (1, D), in any thread."""
        return await (self._guided if pair.rubric else self._plain).begin(pair)

    def purchase_arms(self) -> Sequence[str]:
        """The arm of each purchase, by its place."""
        return [purchase.arm for purchase in self._router.purchases]

    def foretold(self, pair: Pair, rung: int) -> Foretold | None:
        """What was expected of a judgment that was just bought at its rung, None where the pace let only the cheapest
        be bought. The second time it is asked, what is expected of the rung's judgments in the mean."""
        x_ND = self._described.pop(pair.id, None)
        if not 0 <= rung < len(self._router.rungs):
            return None
        return self._told(x_ND if isinstance(self._router, Foretelling) else None, rung)

    async def described(self, pair: Pair) -> Array:
        """Its features, shape (1, D). Raises BackendError where the server of embeddings fails."""
        if not self.card.features:
            return np.empty((1, 0))
        if self.routing.embedder is None and len(pair.prompt or "") <= LONG_TEXT:
            return extract([pair]).x_ID
        return (await asyncio.to_thread(extract, [pair], self.routing.embedder)).x_ID

    def pick(self, pair: Pair, x_ND: Array) -> Picked:
        """The purchase for one call; `paid` has to follow. Raises BudgetError when not even the cheapest can be."""
        turn = self.steering.begin(pair.id)
        u = self._best_single(pair, x_ND, turn.rung)
        if not self.steering.affords(u):
            firsts = [k for k, purchase in enumerate(self._router.purchases) if purchase.place == 0]
            u = min(firsts, key=lambda k: (self.card.mean_costs[k], k))
        held = self.steering.hold(u)
        why = self._told(x_ND, turn.rung)
        return Picked(self._router.purchases[u].arm, turn, u, held, why)

    def paid(self, picked: Picked, cost: float | None) -> None:
        """What the call did cost, in the router's unit; NaN where nobody knows, None where nothing was asked."""
        counted = self.steering.pay(picked.u, picked.held, 0.0 if cost is None else cost)
        self.steering.end(picked.turn, None if cost is None else counted)

    def charge(self, judgment: Judgment) -> float:
        """Count a judgment of an arm that was fallen back to; its cost in the router's unit."""
        cost = cost_of(judgment, self.unit)
        counted = 0.0 if math.isnan(cost) else cost
        self.steering.charge(counted)
        return counted

    def units(self, usage: Usage | None, cost_usd: float | None) -> float:
        """One call's cost in the router's unit, NaN where it is not known."""
        if usage is None or (self.unit == "cost_usd" and cost_usd is None):
            return math.nan
        counts = (usage.prompt_tokens, usage.output_tokens)
        return cost_of(Judgment(arm="", prompt_tokens=counts[0], output_tokens=counts[1], cost_usd=cost_usd), self.unit)

    def _saw(self, pair: Pair, x_ND: Array) -> None:
        if len(self._described) >= DESCRIBED:
            self._described.pop(next(iter(self._described)))
        self._described[pair.id] = x_ND
        self.on_features(x_ND)

    def _best_single(self, pair: Pair, x_ND: Array, rung: int) -> int:
        """Of what can be bought alone the best at the rung's multiplier; the first, where nothing is foretold."""
        router = self._router
        if isinstance(router, Foretelling):
            singles = [(k, bundle[0]) for k, bundle in enumerate(router.bundles) if len(bundle) == 1]
            if singles:
                reward_NK, cost_NK = router.predict(x_ND)
                multiplier = router.rungs[rung].multiplier
                worth = [float(reward_NK[0, k] - multiplier * cost_NK[0, k]) for k, _ in singles]
                return singles[int(np.argmax(worth))][1]
        seen = unbought(x_ND, len(router.purchases), self.card.responses)
        return int(router.decide(seen, rung, np.array([uniform("draw", pair.id)]))[0])

    def _told(self, x_ND: Array | None, rung: int) -> Foretold:
        found = self._router.rungs[rung]
        cheapest = min(self._router.rungs, key=lambda r: (r.cost, -r.reward)).reward
        reward, cost = found.reward, found.cost
        if x_ND is not None:
            reward, cost, cheapest = (float(np.ravel(part)[0]) for part in foretell(self._router, x_ND, rung))
        reference = self.card.reference_cost
        return Foretold(rung, found.multiplier * reference, reward, reward - cheapest, cost / reference)
