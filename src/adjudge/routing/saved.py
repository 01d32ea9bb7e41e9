"""A fitted router as a folder: `router.json`, a card to be read by people and checked by `load`, and
`weights.safetensors`, its arrays. Nothing in it is executed when it is read.

The folder is written whole beside its place and then moved there. `load` refuses what is damaged, of another format, of
a kind that there is none of, or no longer fits what is asked of it: arms that are gone, features that are others.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as read_arrays
from safetensors.numpy import save as write_arrays

from adjudge import __version__
from adjudge.errors import AdjudgeError, ConfigError, DataError
from adjudge.routing import drift, registry
from adjudge.routing.router import Router, State
from adjudge.routing.table import Purchase, Table

FORMAT = 1
CARD = "router.json"
WEIGHTS = "weights.safetensors"
MOST_BYTES = 1 << 30  # of either file: more is no router of ours
_TRAFFIC = "traffic:"  # how the arrays begin that are no part of the router
AGAIN = "fit it again with `adjudge route fit`"


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a fitted router.

    kind: its name in the registry. arms: in the order of the fit, the first is the reference of relative costs.
    reference_cost: mean cost of its verdict on the fitting data, in `cost_unit`. budget: what it is used with when no
    other is given, in reference costs. highest_costs, mean_costs: of each purchase on the fitting data. responses: of
    the instances that arms rate, 0 for verdicts. radii: in nats. features: their names, in order; `embedder` made
    those that are embeddings, "" where there are none. validation: figures on rows that were not fitted on.
    made_from: records, evaluator and command. data: digest of the table that was fitted on. weights: digest of the
    other file. router: what its own module restores it from.
    """

    format: int
    adjudge: str
    kind: str
    arms: tuple[str, ...]
    purchases: tuple[tuple[str, int, int | None], ...]
    cost_unit: str
    reference_cost: float
    budget: float
    highest_costs: tuple[float, ...]
    mean_costs: tuple[float, ...]
    responses: int
    radii: dict[str, float | None]
    features: tuple[str, ...]
    embedder: str
    validation: dict[str, Any]
    made_from: dict[str, Any]
    data: str
    weights: str
    router: dict[str, Any]


class Saved(NamedTuple):
    """`fitted`: what traffic is compared with, None where the fit kept nothing of its features."""

    card: Card
    router: Router
    fitted: drift.Reference | None = None


def save(
    folder: str | Path,
    kind: str,
    router: Router,
    table: Table,
    *,
    budget: float,
    reference_cost: float,
    radii: dict[str, float | None] | None = None,
    embedder: str = "",
    validation: dict[str, Any] | None = None,
    made_from: dict[str, Any] | None = None,
) -> Card:
    """Write a router that was fitted on `table`. An older router at the same place is replaced.

    Raises DataError where something else stands there, or nothing can be written.
    """
    state = router.state()
    json.dumps(state.card, allow_nan=False, default=_plain)  # NaN and infinity would be read again as null
    seen = drift.reference(table.x_ND) if table.features else None
    kept = {f"{_TRAFFIC}{name}": array for name, array in drift.arrays(seen).items()} if seen else {}
    packed = write_arrays({name: np.asarray(array, order="C") for name, array in (state.arrays | kept).items()})
    card = Card(
        format=FORMAT,
        adjudge=__version__,
        kind=kind,
        arms=table.arms,
        purchases=tuple((p.arm, p.order, p.draw) for p in router.purchases),
        cost_unit=table.cost_unit,
        reference_cost=reference_cost,
        budget=budget,
        highest_costs=tuple(table.cost_NU.max(axis=0).tolist()),
        mean_costs=tuple(table.cost_NU.mean(axis=0).tolist()),
        responses=0 if table.rating_NUR is None else table.rating_NUR.shape[2],
        radii=radii or {},
        features=table.features,
        embedder=embedder,
        validation=validation or {},
        made_from=made_from or {},
        data=data_digest(table),
        weights=_digest(packed),
        router=state.card,
    )
    text = msgspec.json.format(msgspec.json.encode(card, enc_hook=_plain), indent=1) + b"\n"
    _replace(Path(folder), {WEIGHTS: packed, CARD: text})
    return card


def load(
    folder: str | Path,
    *,
    arms: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> Saved:
    """Read a router and check it. `arms`: those there are (of an arms.toml, or of a table); `features`: the names of
    those that it will be given, in order.

    Raises DataError for a folder that is missing, damaged or of another format, ConfigError for what no longer fits.
    """
    folder = Path(folder)
    card = _card(folder)
    packed = _read(folder / WEIGHTS)
    if _digest(packed) != card.weights:
        raise DataError(
            f"does not belong to {CARD}: it is damaged, or of another fit", path=folder / WEIGHTS, remedy=AGAIN
        )
    try:
        arrays = read_arrays(packed)
    except (SafetensorError, ValueError) as error:
        raise DataError(f"is not readable: {error}", path=folder / WEIGHTS, remedy=AGAIN) from None
    if arms is not None:
        check_arms(card, arms, folder)
    if features is not None:
        check_features(card, features, folder)
    fitted = drift.restored({n.removeprefix(_TRAFFIC): a for n, a in arrays.items() if n.startswith(_TRAFFIC)})
    try:
        own = {name: array for name, array in arrays.items() if not name.startswith(_TRAFFIC)}
        router = registry.restore(card.kind, State(card.router, own))
    except AdjudgeError as error:
        raise ConfigError(f"{folder / CARD}: {error}") from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"does not describe a router of kind {card.kind!r} ({type(error).__name__}: {error})",
            path=folder / CARD,
            remedy=AGAIN,
        ) from None
    if tuple(router.purchases) != tuple(Purchase(*p) for p in card.purchases):
        raise DataError("names other purchases than its router", path=folder / CARD, remedy=AGAIN)
    return Saved(card, router, fitted)


def check_arms(card: Card, arms: Sequence[str], folder: Path | str) -> None:
    """Raises ConfigError for an arm that the router buys and that is not there."""
    bought = dict.fromkeys(arm for arm, _, _ in card.purchases)
    missing = [arm for arm in bought if arm not in arms]
    if missing:
        raise ConfigError(
            f"{folder}: the router buys {', '.join(missing)}, not among the arms there are ({', '.join(arms)}); "
            f"name the arms as they were when it was fitted, or {AGAIN}"
        )


def check_features(card: Card, features: Sequence[str], folder: Path | str) -> None:
    """Raises ConfigError where the router was fitted on other features, or in another order."""
    if tuple(features) == card.features:
        return
    gone = [name for name in card.features if name not in features]
    new = [name for name in features if name not in card.features]
    what = f"lacks {gone[0]!r}" if gone else f"has {new[0]!r} beyond them" if new else "has them in another order"
    raise ConfigError(
        f"{folder}: the router reads {len(card.features)} features, and what it is given {what}; describe pairs as it "
        f"was fitted ({f'embedder {card.embedder}' if card.embedder else 'without an embedder'}), or {AGAIN}"
    )


def data_digest(table: Table) -> str:
    """32 hex digits that change with whatever a fit may read of a table."""
    found = hashlib.blake2b(digest_size=16)
    found.update(msgspec.json.encode([table.ids, table.arms, table.purchases, table.features, table.cost_unit]))
    for array in (table.instance_N, table.said_NU, table.rating_NUR, table.cost_NU, table.gold_N, table.x_ND):
        if array is not None:
            found.update(str(array.shape).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _card(folder: Path) -> Card:
    path = folder / CARD
    if not folder.is_dir():
        raise DataError("no such folder", path=folder, remedy="give a router that `adjudge route fit` wrote")
    text = _read(path)
    try:
        version = msgspec.json.decode(text, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"is no router's card: {error}", path=path, remedy=AGAIN) from None
    if version.format != FORMAT:
        raise DataError(
            f"is of format {version.format}, written by adjudge {version.adjudge}; "
            f"this is adjudge {__version__}, which reads format {FORMAT}",
            path=path,
            remedy=f"use that version, or {AGAIN}",
        )
    try:
        return msgspec.json.decode(text, type=Card)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"is no router's card: {error}", path=path, remedy=AGAIN) from None


class _Version(msgspec.Struct, frozen=True):
    """What every format has in common."""

    format: int
    adjudge: str = "?"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"is over {MOST_BYTES >> 20} MB", path=path, remedy=AGAIN)
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError("no such file", path=path, remedy="give a router that `adjudge route fit` wrote") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from None


def _replace(folder: Path, files: dict[str, bytes]) -> None:
    """Write the folder beside its place, then move it there; what stood there goes only once the new one is whole."""
    if folder.exists() and not _is_ours(folder):
        raise DataError("is no router, so it is left alone", path=folder, remedy="choose another --out")
    fresh, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        for name, content in files.items():
            with open(fresh / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if folder.exists():
            folder.rename(old)
        try:
            fresh.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path=folder) from None
    finally:
        for left in (fresh, old):
            with suppress(OSError):
                shutil.rmtree(left)


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds a router and nothing else, or nothing."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return not names or (CARD in names and names <= {CARD, WEIGHTS})


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in a card; put arrays among the arrays")
