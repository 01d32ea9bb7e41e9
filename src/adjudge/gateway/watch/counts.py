"""What is counted of judgments beside the gateway's own metrics, in the same registry: parts bought, by whom, both
orders of one judge, audits, labels."""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter

from adjudge.gateway.desk import Judged
from adjudge.types import Outcome

By = Literal["router", "asked", "audit"]
_VERDICTS = ("A", "B", "tie")


class Part(NamedTuple):
    """One verdict that was bought; `order` None where it is a draw of a rating."""

    arm: str
    outcome: str
    order: str | None


class Counts:
    """Counters of one gateway."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"adjudge_{name}", words, labels, registry=registry)

        self.purchases = counter("purchases", "Verdicts bought, the parts of judgments", "arm", "outcome", "by")
        self.rungs = counter("rungs", "Judgments by the router's rung", "rung")
        self.orders = counter("both_orders", "Verdicts of one arm in both orders", "arm", "agree")
        self.audits = counter("audits", "Routed judgments that the most expensive arm judged too", "result")
        self.feedback = counter("feedback", "Labels given", "arm", "result")
        self.unjudged = counter("unjudged", "Judgments asked for that came to nothing", "code")

    def judged(self, judged: Judged, by: By) -> None:
        """Enter a judgment that was bought."""
        found = parts(judged)
        for part in found:
            self.purchases.labels(part.arm, part.outcome, by).inc()
        for arm, agree in both_orders(found).items():
            self.orders.labels(arm, "yes" if agree else "no").inc()
        rung = (judged.judgment.extra.get("route") or {}).get("rung")
        if rung is not None:
            self.rungs.labels(str(rung)).inc()


def parts(judged: Judged) -> list[Part]:
    """What a judgment is made of: a router's purchases, or the orders that an arm was asked in."""
    judgment = judged.judgment
    route = judgment.extra.get("route")
    if route is not None:
        return [Part(p["arm"], str(Outcome(p["outcome"]).value), p.get("order")) for p in route["bought"]]
    orders: Iterable[tuple[str, Outcome | None]] = (("ab", judgment.ab), ("ba", judgment.ba))
    return [Part(judged.arm, outcome.value, order) for order, outcome in orders if outcome is not None]


def both_orders(found: Iterable[Part]) -> Mapping[str, bool]:
    """Arm -> whether it said the same whichever response came first, of the arms that gave a verdict in both orders."""
    said: dict[str, dict[str, str]] = {}
    for part in found:
        if part.order is not None and part.outcome in _VERDICTS:
            said.setdefault(part.arm, {})[part.order] = part.outcome
    return {arm: one["ab"] == one["ba"] for arm, one in said.items() if len(one) == 2}
