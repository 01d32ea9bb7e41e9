"""What the commands that use a saved router have in common: its budget, and the embedder that it was fitted with."""

from adjudge.commands.route_input import numbers
from adjudge.errors import BudgetError, ConfigError
from adjudge.routing.features import Embedder
from adjudge.routing.saved import Saved


def its_embedder(saved: Saved, folder: str, given: Embedder | None) -> Embedder | None:
    """The embedder that is given. Raises ConfigError where it is not the one that the router was fitted with."""
    name = "" if given is None else given.name
    if name == saved.card.embedder:
        return given
    if saved.card.embedder:
        raise ConfigError(
            f"{folder}: the router reads embeddings of {saved.card.embedder}, not of {name or 'none'}; "
            f"give --embed-url and --embed-model {saved.card.embedder}"
        )
    raise ConfigError(f"{folder}: the router was fitted without embeddings; leave --embed-url and --embed-model out")


def asked_budget(saved: Saved, text: str | None) -> float:
    """The budget asked for. Raises ConfigError where it is no number, BudgetError where nothing can meet it."""
    asked = [saved.card.budget] if text is None else numbers(text, "--budget")
    if len(asked) != 1:
        raise ConfigError(f"--budget {text}: give one number")
    cheapest = min(rung.cost for rung in saved.router.rungs) / saved.card.reference_cost
    if asked[0] < cheapest * (1 - 1e-9):
        raise BudgetError(
            f"budget {asked[0]:g} is below {cheapest:.3g} x {saved.card.arms[0]}, what the cheapest policy costs; "
            f"raise --budget"
        )
    return asked[0]
