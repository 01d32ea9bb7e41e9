"""Rollouts to read: what a policy wrote at the start, at gold's best and at the end, drawn by lot, never picked.

Briefs seldom come twice in a training. For each brief of the start the later ones are the same, where there is the
same, and else those that share the most requirements with it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from adjudge.lab.audit.rollouts import Rollout
from adjudge.lab.report.readings import Training
from adjudge.types import digest

BRIEFS = 3


class Moment(NamedTuple):
    name: str
    step: int
    rollouts: tuple[Rollout, ...]


def moments(training: Training, count: int = BRIEFS) -> list[Moment]:
    """At most three moments; two that fall together are one."""
    steps = [audited.figures.step for audited in training.audits]
    if not steps:
        return []
    names: dict[int, list[str]] = {}
    for name, step in (("start", steps[0]), ("gold's best", training.taken["best_step"]), ("end", steps[-1])):
        if step is not None:
            names.setdefault(step, []).append(name)
    found: list[Moment] = []
    for step in sorted(names):
        candidates = sorted((r for r in training.judged if r.step == step), key=lambda r: digest(r.step, r.id))
        wanted = [r.prompt for r in found[0].rollouts] if found else []
        found.append(Moment(" and ".join(names[step]), step, _drawn(candidates, wanted, count)))
    return found


def _drawn(candidates: Sequence[Rollout], wanted: Sequence[str], count: int) -> tuple[Rollout, ...]:
    """One rollout a brief, in the order drawn; those most like the wanted briefs, where any are."""
    by_brief = list({r.prompt: r for r in reversed(candidates)}.values())[::-1]
    if not wanted:
        return tuple(by_brief[:count])
    found: list[Rollout] = []
    for brief in wanted:
        rest = [r for r in by_brief if r not in found]
        if rest:
            found.append(max(rest, key=lambda r: likeness(brief, r.prompt)))
    return tuple(found)


def likeness(one: str, other: str) -> float:
    """The share of requirements, a sentence each, that two briefs have in common.

    >>> likeness("Say please. Mention the tea.", "Mention the tea. Say please.")
    1.0
    """
    a, b = ({s.strip() for s in text.split(".") if s.strip()} for text in (one, other))
    return len(a & b) / len(a | b) if a | b else 1.0
