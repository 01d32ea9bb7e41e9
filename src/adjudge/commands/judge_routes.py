"""Routers among the arms of `adjudge judge`: folders in, arms and what judges by them out, and the closing words."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from adjudge.commands.embedding import open_embedder
from adjudge.commands.route_saved import asked_budget, its_embedder
from adjudge.config import Arm, Settings
from adjudge.errors import ConfigError
from adjudge.routing import features
from adjudge.routing.features import Embedder
from adjudge.routing.live import Live, arm_of, check_draws
from adjudge.routing.pacing import Pace
from adjudge.routing.saved import Saved, check_features, load
from adjudge.routing.steering import Drawn, Paced, Steering
from adjudge.store.store import Store
from adjudge.types import Outcome, Pair

PREFIX = "route:"


class Route(NamedTuple):
    """A router that was read and fits the settings. `budget`: in mean costs of its first arm."""

    arm: Arm
    saved: Saved
    budget: float
    embedder: Embedder | None

    def start(
        self, settings: Settings, store: Store, pairs: Callable[[], Iterable[Pair]], count: int, *, paced: bool
    ) -> "Started":
        """Ready to judge `count` pairs, those that the store holds included. `pairs` reads them once more."""
        card, router = self.saved.card, self.saved.router
        budget = self.budget * card.reference_cost
        steering: Steering
        if paced:
            steering = Paced(router, card, budget, count, _bought_before(self.arm, settings, store, pairs))
        else:
            steering = Drawn(router.rungs, budget, card.highest_costs)
        return Started(self, Live(self.arm, self.saved, settings, steering, embedder=self.embedder))


class Started(NamedTuple):
    """A router at work in a run."""

    route: Route
    live: Live

    def told(self) -> dict[str, Any]:
        """What it did, as JSON has it. Costs are in mean costs of its first arm."""
        live, made = self.live, self.live.judgments
        return {
            "arm": live.arm.name,
            "budget": self.route.budget,
            "reference": live.card.arms[0],
            "judgments": made,
            "refused": live.refused,
            "cost_rel": live.spent / made / live.card.reference_cost if made else None,
            "bought": {arm: live.arms_bought[arm] / made for arm in live.arm.choices or ()} if made else {},
        }

    def closing_line(self) -> str:
        """The same in words."""
        found = self.told()
        parts = []
        if found["judgments"]:
            shares = ", ".join(f"{arm} for {share:.0%}" for arm, share in found["bought"].items())
            parts = [f"mean cost {found['cost_rel']:.3g} x {found['reference']}, budget {self.route.budget:g}"]
            parts.append(f"bought {shares}")
        if found["refused"]:
            parts.append(f"{found['refused']:,} not bought, the budget is used up")
        return f"{found['arm']}: {'; '.join(parts) or 'nothing to buy'}."


def open_routes(
    words: Sequence[str],
    settings: Settings,
    budget: str | None,
    embed_url: str | None,
    embed_model: str | None,
    embed_key_env: str,
) -> list[Route]:
    """The routers of these words, route:DIR. Raises ConfigError, DataError and BudgetError, one line each."""
    folders = list(dict.fromkeys(word.removeprefix(PREFIX) for word in words))
    given = open_embedder(embed_url, embed_model, embed_key_env)
    found: dict[str, Route] = {}
    for folder in folders:
        name = PREFIX + Path(folder).resolve().name
        if name in found:
            raise ConfigError(f"two routers would both be called {name}; rename one of the folders")
        saved = load(Path(folder), arms=tuple(settings.arms))
        check_draws(saved.card, settings, folder)
        embedder = its_embedder(saved, folder, given)
        if saved.card.features:
            width = sum(column.startswith(f"{features.EMBEDDED}prompt:") for column in saved.card.features)
            check_features(saved.card, features.names(width), folder)
        asked = asked_budget(saved, budget)
        found[name] = Route(arm_of(name, saved.card, settings, asked), saved, asked, embedder)
    return list(found.values())


def _bought_before(arm: Arm, settings: Settings, store: Store, pairs: Callable[[], Iterable[Pair]]) -> Pace:
    """What this router, at this budget, bought for these pairs in earlier runs."""
    costs: dict[str, float] = {}
    for record in store.records(settings.evaluator, texts=False):
        judgment = record.judgments.get(arm.name)
        told = judgment.extra.get("route", {}) if judgment is not None else {}
        if judgment is None or judgment.outcome is Outcome.FAILED:
            continue
        if [told.get(key) for key in ("router", "budget")] == [arm.extra[key] for key in ("router", "budget")]:
            costs[record.pair.id] = told["cost"]
    made = [costs[pair.id] for pair in pairs() if pair.id in costs] if costs else []
    return Pace(judgments=len(made), spent=sum(made))
