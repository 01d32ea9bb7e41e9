"""A row's fields, checked. Each problem is a DataError that names the field; the reader adds file and line."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from adjudge.errors import DataError
from adjudge.types import Pair, digest, drawn_side

Row = dict[str, Any]
SAME = "chosen and rejected are the same"

# Keys that a row of our own has a meaning for. A foreign column of the same name goes to `meta` with `raw_` before it.
TEXT_KEYS = ("id", "prompt", "response_a", "response_b", "gold", "domain", "source", "rubric")
OWN_KEYS = frozenset({*TEXT_KEYS, "responses", "gold_index", "evaluator", "arms"})


class Reading(NamedTuple):
    """What a conversion may know besides the row. `left_out` counts rows that make no pair, by reason."""

    seed: int
    path: str
    left_out: Counter[str]
    as_pairs: bool = False


def require(row: Row, keys: Iterable[str]) -> None:
    """Raise DataError when one of the keys is missing, naming all that are."""
    missing = [repr(key) for key in keys if key not in row]
    if missing:
        raise DataError(f"has no {', '.join(missing)}", remedy="add it or delete the row")


def text(row: Row, key: str) -> str:
    """The string at `key`. Raises DataError when it is missing, no string, or holds a NUL."""
    value = maybe_text(row, key)
    if value is None:
        raise DataError(f"has no {key!r}" if key not in row else f"{key!r} is null, not a string", remedy="fill it in")
    return value


def maybe_text(row: Row, key: str) -> str | None:
    """The string at `key`, None when it is missing or null."""
    value = row.get(key)
    return None if value is None else checked_text(value, key)


def label(row: Row, key: str) -> str:
    """The string at `key`, "" when it is missing or null."""
    return maybe_text(row, key) or ""


def name(row: Row, key: str) -> str:
    """The id at `key`: a string that is not empty, or a whole number, which becomes a string."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or value == "":
        raise DataError(f"has no {key!r}", remedy="give every row an id of its own")
    return checked_text(value, key)


def texts(row: Row, key: str, count: int | None = None) -> tuple[str, ...]:
    """The list of strings at `key`, of exactly `count` where that is given."""
    value = row.get(key)
    if not isinstance(value, list | tuple):
        raise DataError(f"{key!r} must be a list of strings, not {kind(value)}", remedy="mend the row")
    if count is not None and len(value) != count:
        raise DataError(f"{key!r} must hold {count} strings, not {len(value)}", remedy="mend the row")
    return tuple(checked_text(one, f"{key}[{i}]") for i, one in enumerate(value))


def checked_text(value: Any, key: str) -> str:
    """`value` if it is a string that can be stored anywhere: a NUL is refused, since PostgreSQL keeps none."""
    if not isinstance(value, str):
        raise DataError(f"{key!r} must be a string, not {kind(value)}", remedy="mend the row")
    if "\0" in value:
        raise DataError(f"{key!r} holds a NUL character", remedy="take it out")
    return value


def spoken(turns: Sequence[tuple[str, str]]) -> str:
    """The text a judge reads of (speaker, text): a single turn bare, several with the speaker before each.

    >>> spoken([("user", "Hi"), ("assistant", "Hello")])
    'User: Hi\\n\\nAssistant: Hello'
    """
    if len(turns) == 1:
        return turns[0][1]
    return "\n\n".join(f"{speaker.capitalize()}: {said}" for speaker, said in turns)


def kind(value: Any) -> str:
    """What a value is, in the words of JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list | tuple) else "an object"


def rest(row: Row, *used: str) -> dict[str, Any]:
    """The columns that were not used, for `meta`.

    >>> rest({"prompt": "p", "subset": "s", "gold": 3}, "prompt")
    {'subset': 's', 'raw_gold': 3}
    """
    return {f"raw_{k}" if k in OWN_KEYS else k: v for k, v in row.items() if k not in used}


def content_id(prefix: str, *parts: object) -> str:
    """An id for rows that carry none: the prefix with 20 hex digits that change when any part does."""
    return f"{prefix}/{digest(*parts)[:20]}"


def drawn(pair_id: str, right: str, wrong: str, seed: int, **fields: Any) -> Pair:
    """A pair whose right response is known; the side it takes is drawn by a seeded hash of the id."""
    side = drawn_side(pair_id, seed)
    a, b = (right, wrong) if side == "A" else (wrong, right)
    return Pair(id=pair_id, response_a=a, response_b=b, gold=side, **fields)
