"""What is known of a pair before anything is bought -> features that do not change when its responses change places.

Each text is measured alone (its length, digits, code, mathematics ...). A pair's features are the measures of its
prompt, and over its responses their mean and their range, so that no feature tells one response from another: a
router decides what to buy, never who wins. To these come how much the responses share, and, with an embedder, the
embeddings of the prompt, of the responses on average, and of how far these lie apart.

Axes: I instances (one per pair), D features, F measures of one text, E dimensions of an embedding. A text that is not
there measures 0, and a column says so. Never features: domains, sources, gold labels, ids, `meta`.
"""

import math
import re
import string
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from adjudge.errors import DataError
from adjudge.routing.ambiguity import Array
from adjudge.routing.table import Table
from adjudge.types import Pair, Record

MEASURES = (
    "log_chars",
    "log_lines",
    "word_length",
    "digits",
    "capitals",
    "marks",
    "not_ascii",
    "maths",
    "code",
    "list_items",
    "options",
    "questions",
    "refusal",
)
OF_RESPONSES = ("overlap", "overlap_range", "prompt_overlap", "prompt_overlap_range", "same_end", "log_difference")
EMBEDDED = "embedding:"  # how the names of columns begin that hold an embedding's dimensions
MOST_COMPARED = 6  # responses of a best-of-n instance that are compared two by two

_WORD = re.compile(r"\w+")
_MATHS = re.compile(r"\\\(|\\\[|\\[a-z]{2,12}\b|\$|[=^<>±×÷√∑∫≤≥]")
_CODE = re.compile(r"```|^(?: {4}|\t)\S|\bdef \w|\breturn\b|[;{}]\s*$", re.MULTILINE)
_LIST = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s", re.MULTILINE)
_OPTION = re.compile(r"(?:^|\s)\(?[A-J][).:]\s")
_REFUSAL = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can['\u2019]t|unable to|not able to|as an ai|i won['\u2019]t)\b", re.IGNORECASE
)


_DIGITS, _CAPITALS, _MARKS = (
    np.frombuffer(chars.encode(), np.uint8) for chars in (string.digits, string.ascii_uppercase, string.punctuation)
)


class Embedder(Protocol):
    """Texts -> vectors of unit length. `name` is what a saved router is checked by."""

    @property
    def name(self) -> str: ...
    def embed(self, texts: Sequence[str]) -> Array:
        """Shape (len(texts), E)."""
        ...


class Features(NamedTuple):
    x_ID: Array
    names: tuple[str, ...]


def names(width: int = 0) -> tuple[str, ...]:
    """The columns of `describe`; `width`: E of the embedder, 0 without one.

    >>> len(names()), len(names(2)) - len(names())
    (50, 9)
    """
    found = ["missing_prompt", "missing_responses", "responses", "has_rubric", "log_rubric"]
    found += [f"prompt_{m}" for m in MEASURES]
    found += [f"response_{m}" for m in MEASURES] + [f"range_{m}" for m in MEASURES]
    found += OF_RESPONSES
    if width:
        found += ["alike_prompt", "alike_prompt_range", "alike_responses"]
        found += [f"{EMBEDDED}{part}:{e}" for part in ("prompt", "responses", "apart") for e in range(width)]
    return tuple(found)


def describe(pair: Pair, embedder: Embedder | None = None) -> Array:
    """The features of one pair, shape (D,), under `names(E)`.

    >>> pair = Pair(id="1", prompt="Add 2 and 3.", response_a="5", response_b="The sum is 5.")
    >>> bool((describe(pair) == describe(pair.swapped())).all())
    True
    """
    x_ID, _ = extract([pair], embedder)
    return np.asarray(x_ID[0])


def extract(pairs: Iterable[Pair], embedder: Embedder | None = None) -> Features:
    """The features of pairs, one row each; every different text is embedded once."""
    kept = list(pairs)
    plain_ID = np.array([_plain(pair) for pair in kept], float).reshape(len(kept), -1)
    if embedder is None:
        return Features(plain_ID, names())
    place: dict[str, int] = {}
    for pair in kept:
        for text in (pair.prompt or "", *pair.texts):
            place.setdefault(text, len(place))
    vector_TE = checked_finite(embedder.embed(list(place)), None, f"embeddings of {embedder.name}")
    embedded_ID = np.array([_combined(pair, place, vector_TE) for pair in kept]).reshape(len(kept), -1)
    return Features(np.concatenate([plain_ID, embedded_ID], axis=1), names(vector_TE.shape[1]))


def with_text(table: Table, records: Iterable[Record], embedder: Embedder | None = None) -> Table:
    """The table with the features of its instances' texts; `records` are those that it was made of."""
    pairs = {record.pair.id: record.pair for record in records}
    missing = next((i for i in table.ids if i not in pairs), None)
    if missing is not None:
        raise DataError(
            f"instance {missing!r} of the table is not among the records", remedy="give those it is made of"
        )
    return table.with_features(*extract([pairs[i] for i in table.ids], embedder))


def checked_finite(x_ND: Array, columns: Sequence[str] | None, what: str = "features") -> Array:
    """The same array. Raises DataError naming the first column that holds NaN or infinity."""
    if np.isfinite(x_ND.sum()):  # quicker than asking each, and no sum of finite numbers passes for another
        return x_ND
    wrong = np.argwhere(~np.isfinite(x_ND))
    if not len(wrong):
        return x_ND  # finite, though their sum is beyond what a float holds
    row, column = wrong[0]
    name = columns[column] if columns else column
    raise DataError(
        f"{what}: column {name!r} of row {row} is {x_ND[row, column]}",
        remedy="give finite numbers; 0 for what is missing",
    )


def checked(x_ND: Array, columns: Sequence[str]) -> Array:
    """The same array. Raises DataError where it has other than these columns, or one of them is not finite."""
    if x_ND.shape[1] != len(columns):
        raise DataError(
            f"{x_ND.shape[1]} features were given, the router was fitted on {len(columns)}",
            remedy="describe pairs with the embedder that the router names",
        )
    return checked_finite(x_ND, columns)


def is_embedded(columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which columns are dimensions of an embedding, shape (D,)."""
    return np.array([name.startswith(EMBEDDED) for name in columns], bool)


def _plain(pair: Pair) -> list[float]:
    prompt, texts = pair.prompt or "", pair.texts
    measures_RF = np.array([_measure(text) for text in texts] or [[0.0] * len(MEASURES)])
    return [
        float(pair.prompt is None),
        float(not texts),
        float(len(texts)),
        float(bool(pair.rubric)),
        math.log1p(len(pair.rubric or "")),
        *_measure(prompt),
        *np.sort(measures_RF, axis=0).mean(axis=0),  # sorted: sums of floats depend on their order
        *np.ptp(measures_RF, axis=0),
        *_shared(prompt, texts),
    ]


def _measure(text: str) -> list[float]:
    """The measures of one text, in the order of MEASURES: logarithms of counts, or shares of characters or words.

    Digits, capitals and marks are those of ASCII, counted by byte.
    """
    of_byte = np.bincount(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8), minlength=256)
    chars = max(len(text), 1)
    words = _WORD.findall(text)
    n_words = max(len(words), 1)
    return [
        math.log1p(len(text)),
        math.log1p(of_byte[ord("\n")]),
        sum(map(len, words)) / n_words,
        of_byte[_DIGITS].sum() / chars,
        of_byte[_CAPITALS].sum() / chars,
        of_byte[_MARKS].sum() / chars,
        of_byte[0xC0:].sum() / chars,  # the first byte of each character beyond ASCII
        min(len(_MATHS.findall(text)) / n_words, 1.0),
        math.log1p(len(_CODE.findall(text))),
        math.log1p(len(_LIST.findall(text))),
        math.log1p(len(_OPTION.findall(text))),
        math.log1p(of_byte[ord("?")]),
        math.log1p(len(_REFUSAL.findall(text))),
    ]


def _shared(prompt: str, texts: tuple[str, ...]) -> list[float]:
    """In the order of OF_RESPONSES."""
    if not texts:
        return [0.0] * len(OF_RESPONSES)
    words = [_WORD.findall(text.lower()) for text in texts]
    bags = [frozenset(w) for w in words]
    asked = frozenset(_WORD.findall(prompt.lower()))
    two = list(combinations(bags[:MOST_COMPARED], 2)) or [(bags[0], bags[0])]
    alike = sorted(len(a & b) / max(len(a | b), 1) for a, b in two)
    echoed = sorted(len(asked & bag) / max(len(asked), 1) for bag in bags)
    ends = {w[-1] if w else "" for w in words}
    lengths = [len(text) for text in texts]
    return [
        sum(alike) / len(alike),
        alike[-1] - alike[0],
        sum(echoed) / len(echoed),
        echoed[-1] - echoed[0],
        float(len(ends) == 1),
        math.log1p(max(lengths) - min(lengths)),
    ]


def _combined(pair: Pair, place: dict[str, int], vector_TE: Array) -> Array:
    """Likeness and the three embeddings of one pair, shape (3 + 3E,); what is missing is 0."""
    width = vector_TE.shape[1]
    prompt_E = vector_TE[place[pair.prompt]] if pair.prompt else np.zeros(width)
    if not pair.texts:
        return np.concatenate([np.zeros(3), prompt_E, np.zeros(2 * width)])
    response_RE = np.sort(vector_TE[[place[text] for text in pair.texts]], axis=0)  # sums depend on the order
    mean_E = response_RE.mean(axis=0)
    apart_E = 2 * np.abs(response_RE - mean_E).mean(axis=0)  # |a - b| of two
    to_prompt_R = vector_TE[[place[text] for text in pair.texts]] @ prompt_E
    likeness: list[Any] = [np.sort(to_prompt_R).mean(), np.ptp(to_prompt_R), mean_E @ mean_E]
    return np.concatenate([likeness, prompt_E, mean_E, apart_E])
