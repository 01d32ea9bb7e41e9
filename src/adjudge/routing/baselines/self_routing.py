"""Self-routing: the judge is asked first whether it needs to reason, and its answer is followed.

The question is a call of its own (protocol `self-routing` in arms.toml), paid and recorded with the verdict that
followed it, so the baseline is one rung: always this arm. It is one of the rivals of arXiv 2605.10805. Records without
such calls cannot tell what the judge would have answered: the baseline is then left out, and the error says why.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from adjudge.errors import DataError
from adjudge.routing.baselines.fixed import Fixed, of_arms, restore
from adjudge.routing.table import Table
from adjudge.types import Record

__all__ = ["Settings", "arms_that_ask", "fit", "restore"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`arms`: those whose verdicts were bought by asking first; see `arms_that_ask`."""

    arms: tuple[str, ...] = ()


def arms_that_ask(records: Iterable[Record]) -> tuple[str, ...]:
    """The arms of which most judgments hold an answer to the self-routing question, in their order."""
    asked: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for record in records:
        for arm, judgment in record.judgments.items():
            held[arm] += 1
            asked[arm] += any(call.kind == "need" for call in judgment.calls)
    return tuple(arm for arm, n in held.items() if 2 * asked[arm] > n)


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> Fixed:  # noqa: ARG001 - nothing is random
    """One rung for each self-routing arm of the table. Raises DataError where it has none."""
    places = [k for k, arm in enumerate(table.arms) if arm in settings.arms]
    if not places:
        raise DataError(
            "no arm of these records was asked whether it needs to reason, so self-routing is left out",
            remedy='judge with an arm of protocol = "self-routing" to have it',
        )
    return of_arms(table, places)
