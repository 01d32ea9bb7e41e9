"""Random at matched cost: a coin, blind to the row, chooses between two arms so that the mean cost is the budget.

The best such baseline mixes the two arms on the hull of all arms that are nearest to the budget; the plain one mixes
the first arm and the last one. It is the line that routing has to beat: where a router is not above it, the features
told it nothing. Where one of the two is both dearer and worse, it is never bought.
"""

from dataclasses import dataclass

from adjudge.routing.baselines.fixed import Fixed, of_arms, restore
from adjudge.routing.table import Table

__all__ = ["Settings", "fit", "restore"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`ends`: mix the first and the last arm only."""

    ends: bool = False


def fit(table: Table, settings: Settings = Settings(), seed: int = 0) -> Fixed:  # noqa: ARG001 - the coin is tossed at play
    """The router whose budgets are met by mixing arms."""
    last = len(table.arms) - 1
    return of_arms(table, [0, last] if settings.ends else range(last + 1))
