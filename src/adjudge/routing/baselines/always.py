"""Always one arm, whatever the row: what a router is measured against. It has one rung, so one cost; a budget below
that cost is a BudgetError, one above it is not spent."""

from dataclasses import dataclass

from adjudge.errors import ConfigError
from adjudge.routing.baselines.fixed import Fixed, of_arms, restore
from adjudge.routing.table import Table

__all__ = ["Settings", "fit", "restore"]


@dataclass(frozen=True, slots=True)
class Settings:
    arm: str


def fit(table: Table, settings: Settings, seed: int = 0) -> Fixed:  # noqa: ARG001 - nothing is random
    """The router that buys one verdict of the arm, in the order drawn first. Raises ConfigError for an arm that the
    table lacks."""
    if settings.arm not in table.arms:
        raise ConfigError(f"the table has no arm {settings.arm!r}; there are: {', '.join(table.arms)}")
    return of_arms(table, [table.arms.index(settings.arm)])
