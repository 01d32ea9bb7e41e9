"""The first scanner: which rollouts show signs of gaming the judge, each flag with its evidence.

    rollouts, as a stream -> windows of WINDOW -> flags of each rollout -> counts per kind and step, a few examples

Time is linear and memory bounded by one window; what is kept of the rest is counts and examples.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from adjudge.metrics import Estimate, wilson
from adjudge.redteam.detectors import flags
from adjudge.redteam.flags import KINDS, Flag, Written
from adjudge.redteam.templates import template_flags

W = TypeVar("W", bound=Written)

WINDOW = 2_048  # rollouts that templates are looked for in together
EXAMPLES = 3  # of each kind
LEVEL = 0.95


class Example(msgspec.Struct, frozen=True):
    step: int
    id: str
    quote: str
    why: str


class Found(msgspec.Struct, frozen=True):
    """Rollouts with a flag of one kind. The interval takes rollouts for independent draws."""

    count: int
    share: Estimate
    examples: tuple[Example, ...]


class StepShares(msgspec.Struct, frozen=True):
    """Shares of the `n` rollouts of one step, by kind."""

    step: int
    n: int
    shares: dict[str, float]


class Scan(msgspec.Struct, frozen=True):
    """`kinds`: by the names of flags.KINDS, all of them; `flagged`: rollouts with any flag."""

    n: int
    flagged: int
    kinds: dict[str, Found]
    steps: tuple[StepShares, ...]


def flagged(window: Sequence[Written]) -> list[list[Flag]]:
    """The flags of each rollout, in order; templates are looked for among all that are given."""
    return [
        [*flags(r.prompt, r.response), *([template] if template else [])]
        for r, template in zip(window, template_flags(window), strict=True)
    ]


def shares(rollouts: Sequence[Written]) -> dict[str, float]:
    """The share of rollouts with a flag of each kind."""
    counts = Counter(kind for found in flagged(rollouts) for kind in {f.kind for f in found})
    return {kind: counts[kind] / len(rollouts) if rollouts else 0.0 for kind in KINDS}


def stream(rollouts: Iterable[W]) -> Iterator[tuple[W, list[Flag]]]:
    """Every rollout with its flags, in order."""
    rest = iter(rollouts)
    while window := list(islice(rest, WINDOW)):
        yield from zip(window, flagged(window), strict=True)


def scan(rollouts: Iterable[Written]) -> Scan:
    """Shares of flags over all rollouts and by step, with the first examples of each kind that differ."""
    counts, examples = Counter[str](), defaultdict[str, list[Example]](list)
    steps, sizes = defaultdict[int, Counter[str]](Counter), Counter[int]()
    any_count = n = 0
    for rollout, found in stream(rollouts):
        n += 1
        any_count += bool(found)
        sizes[rollout.step] += 1
        kinds = {f.kind: f for f in reversed(found)}
        counts.update(kinds.keys())
        steps[rollout.step].update(kinds.keys())
        for kind, one in kinds.items():
            kept = examples[kind]
            if len(kept) < EXAMPLES and all(one.quote != e.quote for e in kept):
                kept.append(Example(rollout.step, rollout.id, one.quote, one.why))
    by_kind = {
        kind: Found(counts[kind], wilson(counts[kind] / n, n, LEVEL), tuple(examples[kind])) for kind in KINDS if n
    }
    by_step = tuple(
        StepShares(step, sizes[step], {kind: steps[step][kind] / sizes[step] for kind in KINDS})
        for step in sorted(sizes)
    )
    return Scan(n, any_count, by_kind, by_step)
