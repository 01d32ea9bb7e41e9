"""Every router by name: how it is fitted, and how one that was saved is read again.

A name is one of ROUTERS, `always:ARM` for an arm, `oracle` (which sees the gold: no router, evaluated all the same), or
any router's name with `+pacing`. Modules are imported when a router is asked for.
"""

import difflib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from adjudge.errors import ConfigError
from adjudge.routing.router import Router, State
from adjudge.routing.table import Table

ALWAYS = "always"
ORACLE = "oracle"
PACING = "+pacing"
DEFAULT = "racer"
_ROOM = "adjudge.routing."


@dataclass(frozen=True, slots=True)
class Options:
    """What a command can say of a fit; every router takes what concerns it. `observe`: the arm to buy first. Radii in
    nats, None for each router's own. `budgets`, in mean costs of the first arm: where a fit has to know them. `asking`:
    arms that were asked whether they need to reason. `beta`: entropy weight, None for each router's own."""

    observe: str = ""
    radius_reward: float | None = None
    radius_cost: float | None = None
    budgets: tuple[float, ...] = ()
    asking: tuple[str, ...] = ()
    beta: float | None = None


class Known(NamedTuple):
    """A name, taken apart: `always:mini+pacing` is ("always", "mini", True)."""

    base: str
    arm: str
    paced: bool


class Entry(NamedTuple):
    """`module` holds `fit` (its name), `restore` and `Settings`; `settings` gives the keywords of its Settings."""

    module: str
    fit: str = "fit"
    settings: Callable[[Options, str], dict[str, Any]] = lambda _options, _arm: {}


def _robust(variant: str) -> Callable[[Options, str], dict[str, Any]]:
    def keywords(options: Options, _arm: str) -> dict[str, Any]:
        radii = {"radius_reward": options.radius_reward, "radius_cost": options.radius_cost}
        given = {name: radius for name, radius in radii.items() if radius is not None}
        return {"variant": variant, **given}

    return keywords


def _stepwise(text: bool) -> Callable[[Options, str], dict[str, Any]]:
    def keywords(options: Options, _arm: str) -> dict[str, Any]:
        radii = {"radius_reward": options.radius_reward or 0.0, "radius_cost": options.radius_cost or 0.0}
        return {"observe": options.observe, "text": text, **radii}

    return keywords


def _trained(options: Options, _arm: str) -> dict[str, Any]:
    return {"budgets": options.budgets} | ({} if options.beta is None else {"beta": options.beta})


def _observed(options: Options, _arm: str) -> dict[str, Any]:
    return {"observe": options.observe}


ROUTERS = {
    "racer": Entry("cascade", settings=_stepwise(text=True)),
    "racer-observed": Entry("cascade", settings=_stepwise(text=False)),
    "portfolio": Entry("value", "fit_portfolio", _robust("acer")),
    "racer-r": Entry("value", "fit", _robust("racer-r")),
    "racer-c": Entry("value", "fit", _robust("racer-c")),
    "acer": Entry("value", "fit", _robust("acer")),
    "network": Entry("network", settings=_trained),
    "knn": Entry("baselines.knn"),
    "mf": Entry("baselines.factors"),
    "m-irt": Entry("baselines.irt"),
    "threshold": Entry("baselines.threshold", settings=_observed),
    "while-tied": Entry("baselines.while_tied", settings=_observed),
    "self-routing": Entry("baselines.self_routing", settings=lambda options, _arm: {"arms": options.asking}),
    "static": Entry("baselines.static"),
    "random": Entry("baselines.at_random"),
    ALWAYS: Entry("baselines.always", settings=lambda _options, arm: {"arm": arm}),
}


def parse(name: str, arms: Sequence[str]) -> Known:
    """The parts of a router's name. Raises ConfigError, with the nearest known name, for one that there is none of.

    >>> parse("always:mini+pacing", ["nano", "mini"])
    Known(base='always', arm='mini', paced=True)
    """
    whole = name in _choices(arms)  # an arm's own name may end like that
    paced = name.endswith(PACING) and not whole
    plain = name.removesuffix(PACING) if paced else name
    if plain not in _choices(arms) or (paced and plain == ORACLE):
        close = difflib.get_close_matches(plain, _choices(arms), n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close and close[0] != plain else f"known: {', '.join(_choices(arms))}"
        raise ConfigError(f"no router {name!r}; {hint}")
    base, _, arm = plain.partition(":")
    return Known(base, arm, paced)


def expand(names: Iterable[str], table: Table, options: Options) -> tuple[str, ...]:
    """The routers named, each once; `all` stands for every one that these records allow, and tells apart."""
    found: dict[str, None] = {}
    for name in names:
        for one in _all(table, options) if name == "all" else [name]:
            parse(one, table.arms)
            found[one] = None
    if not found:
        raise ConfigError("no router is named; give --routers all, or names")
    return tuple(found)


def fit(name: str, table: Table, options: Options, seed: int) -> Router:
    """Fit a router on all rows of the table. Pacing changes nothing in the fit. Raises what the router's fit raises."""
    known = parse(name, table.arms)
    if known.base == ORACLE:
        raise ConfigError("the oracle sees the gold labels, so there is nothing to fit; choose a router")
    entry = ROUTERS[known.base]
    module = importlib.import_module(_ROOM + entry.module)
    settings = module.Settings(**entry.settings(options, known.arm))
    return cast(Router, getattr(module, entry.fit)(table, settings, seed))


def restore(kind: str, state: State) -> Router:
    """The router whose state was saved under this name. Raises ConfigError for a kind that there is none of."""
    if kind.partition(":")[0] not in ROUTERS:
        close = difflib.get_close_matches(kind, ROUTERS, n=1)
        raise ConfigError(f"no kind of router {kind!r}; {f'nearest: {close[0]}' if close else 'fit it again'}")
    module = importlib.import_module(_ROOM + ROUTERS[kind.partition(":")[0]].module)
    return cast(Router, module.restore(state))


def _choices(arms: Sequence[str]) -> list[str]:
    return [name for name in ROUTERS if name != ALWAYS] + [ORACLE] + [f"{ALWAYS}:{arm}" for arm in arms]


def _all(table: Table, options: Options) -> list[str]:
    left_out = set() if options.asking else {"self-routing"}
    if not (table.x_ND != table.x_ND[:1]).any():
        left_out.add("racer-observed")  # without texts it is the same as racer
    plain = [name for name in _choices(table.arms) if name not in left_out]
    return [*plain[:1], plain[0] + PACING, *plain[1:]]
