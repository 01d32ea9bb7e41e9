"""What happened, by second and by minute, from one source of counts: the counters that /metrics shows.

Nothing is counted here. Every second, or every few where nobody watches, the counters are read, and what they grew by
is entered in that second and that minute; so a page that adds the steps up and one that asks /metrics get the same
numbers. The histogram of latencies is read alike, bucket by bucket: buckets of several minutes and arms add up, and
quantiles are read from their sum.

The latest judgments are the one thing that is handed over one by one: when, by which arm, what came of it. Never texts.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry

from adjudge.gateway.desk import Judged
from adjudge.gateway.watch.steps import Steps
from adjudge.types import Outcome

PREFIX = "adjudge_"
HISTOGRAMS = ("adjudge_judgment_seconds",)
SECONDS, MINUTES = 300, 1440
LATEST = 200
Name = tuple[str, ...]
"""A metric without prefix and suffix, then the values of its labels; of a histogram also the upper end of a bucket."""


class Counted(NamedTuple):
    """`counts` only ever grow; `levels` are what they are now."""

    counts: dict[Name, float]
    levels: dict[Name, float]


class Latest(msgspec.Struct, frozen=True):
    """One judgment that was bought. `number`: in their order. `seconds`: what it took. `bought`: (arm, order or draw,
    outcome, cost in the router's unit) of each part; `rung`: where a router chose them. `rated`: responses
    were rated, so the outcome says nothing. `audit`: it was bought to check
    a router."""

    number: int
    id: str
    at_s: float
    arm: str
    outcome: Outcome
    cost_usd: float | None
    seconds: float
    bought: tuple[tuple[str, str, str, float | None], ...] = ()
    rung: int | None = None
    rated: bool = False
    audit: bool = False


class Monitor:
    """Between `begin` and the end `look` is to be called every few seconds. For one event loop."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._registry, self._clock = registry, clock
        self.seconds, self.minutes = Steps(1, SECONDS), Steps(60, MINUTES)
        self.latest: deque[Latest] = deque(maxlen=LATEST)
        self.names: list[Name] = []
        self.totals: dict[int, float] = {}
        self._places: dict[Name, int] = {}
        self._counted = 0
        self._before: dict[Name, float] = {}
        self.started_s = clock()

    def begin(self) -> None:
        """Count from here: what a counter says already is from before the start."""
        self._before = counted(self._registry).counts

    def look(self) -> None:
        """Enter what the counters grew by since the last look."""
        now_s = self._clock()
        counts, levels = counted(self._registry)
        grown = {
            self._place(name): count - self._before.get(name, 0.0)
            for name, count in counts.items()
            if count != self._before.get(name, 0.0)
        }
        self._before = counts
        told = {self._place(name): level for name, level in levels.items() if not math.isnan(level)}
        for steps in (self.seconds, self.minutes):
            steps.enter(now_s, grown, told)
        self.totals |= {self._place(name): counts[name] for name in counts} | told

    def judged(self, judged: Judged, seconds: float, *, rated: bool = False, audit: bool = False) -> None:
        """A judgment was bought."""
        self._counted += 1
        route = judged.judgment.extra.get("route") or {}
        self.latest.append(
            Latest(
                number=self._counted,
                id=f"jdg_{judged.key}" if judged.judgment.calls else "",
                at_s=self._clock(),
                arm=judged.arm,
                outcome=judged.judgment.outcome,
                cost_usd=judged.judgment.cost_usd,
                seconds=seconds,
                bought=tuple(_part(piece) for piece in route.get("bought", ())),
                rung=route.get("rung"),
                rated=rated and judged.judgment.outcome.is_verdict,
                audit=audit,
            )
        )

    def latest_since(self, number: int) -> list[Latest]:
        """Those after this number, the oldest first."""
        return [one for one in self.latest if one.number > number]

    def _place(self, name: Name) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self.names)
            self.names.append(name)
        return place


def counted(registry: CollectorRegistry) -> Counted:
    """Every counter and gauge of ours as it stands, and the histograms by bucket, each without those below it."""
    found = Counted({}, {})
    for family in registry.collect():
        if not family.name.startswith(PREFIX):
            continue
        short = family.name.removeprefix(PREFIX)
        if family.type == "counter":
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    found.counts[short, *sample.labels.values()] = sample.value
        elif family.type == "gauge":
            for sample in family.samples:
                found.levels[short, *sample.labels.values()] = sample.value
        elif family.name in HISTOGRAMS:
            found.counts.update(_buckets(short, ((s.labels, s.value) for s in family.samples if "le" in s.labels)))
    return found


def _buckets(short: str, samples: Iterator[tuple[Mapping[str, str], float]]) -> Iterator[tuple[Name, float]]:
    """prometheus counts in each bucket those of the ones below too."""
    before: tuple[Name, float] = ((), 0.0)
    for labels, value in samples:
        own = tuple(said for name, said in labels.items() if name != "le")
        below = before[1] if before[0] == own else 0.0
        yield (short, *own, labels["le"]), value - below
        before = (own, value)


def _part(piece: Mapping[str, object]) -> tuple[str, str, str, float | None]:
    where = piece["order"] if "order" in piece else f"draw {piece.get('draw')}"
    cost = piece.get("cost")
    return str(piece["arm"]), str(where), str(piece["outcome"]), cost if isinstance(cost, float) else None
