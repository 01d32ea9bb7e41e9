"""What tests of what a gateway tells of itself share: a router that was fitted for a radius, and traffic for it."""

import numpy as np

from adjudge.gateway.routed import Routing
from adjudge.routing import registry
from adjudge.routing.evaluate import reference_cost
from adjudge.routing.features import with_text
from adjudge.routing.live import arm_of
from adjudge.routing.registry import Options
from adjudge.routing.saved import load, save
from adjudge.routing.table import tabulate
from adjudge.types import Judgment, Outcome, Pair, Record

PRICES = {"cheap": {"price": {"input": 1.0, "output": 1.0}}, "dear": {"price": {"input": 10.0, "output": 10.0}}}
RADIUS = 0.3


def pairs(count, first=0, words=1):
    """Questions that differ; `words` makes their responses longer than those that the router was fitted on."""
    more = " It really is, as anybody can see who counts." * (words - 1)
    return [
        {"prompt": f"Add {i} and {i}.", "response_a": f"It is {2 * i}.{more}", "response_b": f"{2 * i + 1}{more}"}
        for i in range(first, first + count)
    ]


def fitted(folder, radius=RADIUS):
    """A router over a cheap arm that is often silent and a dear one that is always right, at ten times the tokens."""
    rng = np.random.default_rng(0)
    rows = []
    for i, told in enumerate(pairs(200)):
        told = told | {"response_a": told["response_a"] + " Yes." * int(rng.integers(0, 4))}
        says = Outcome("A" if rng.random() < 0.5 else "B")
        pair = Pair(id=f"p{i}", gold=says.value, **told)
        cheap = Judgment(
            arm="cheap", ab=says if rng.random() < 0.6 else Outcome.UNREAD, prompt_tokens=100, output_tokens=20
        )
        dear = Judgment(arm="dear", ab=says, prompt_tokens=100, output_tokens=int(rng.integers(180, 220)))
        rows.append(Record(pair=pair, evaluator="m", judgments={"cheap": cheap, "dear": dear}))
    table = with_text(tabulate(rows, ("cheap", "dear")), rows)
    router = registry.fit("racer", table, Options(), 0)
    radii = {"reward": radius, "cost": None}
    save(folder, "racer", router, table, budget=5.0, reference_cost=reference_cost(table), radii=radii)
    return folder


def routing(folder, told, budget=5.0):
    saved = load(folder)
    return Routing(arm_of("route:racer", saved.card, told, budget), saved, budget)
