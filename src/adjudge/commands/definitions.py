"""What a comparison of a store's judgments must say beside its figures: arms whose definition changed on the way."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from adjudge.comparison import Comparison
from adjudge.store.definitions import Definition
from adjudge.store.sources import is_store
from adjudge.store.store import Store

_SAME_ANSWERS = ("name", "price")  # what changes nothing in the answers
_ELSEWHERE = "a file that they read, or adjudge's own wording"


def with_definitions(comparison: Comparison, ref: str, evaluator: str | None) -> Comparison:
    """The comparison, with a note for each of its arms that `ref`, a store, judged under several definitions.

    A file of records says nothing of definitions. `evaluator` None: those of every evaluator count.
    """
    if not is_store(ref):
        return comparison
    with Store.open(ref, create=False) as store:
        found = store.redefined(evaluator)
    whose = {name for name, _ in found} if evaluator is None else set()
    notes = [
        note(arm if len(whose) < 2 else f"{arm} of {name}", definitions)
        for (name, arm), definitions in found.items()
        if arm in comparison.arms
    ]
    return msgspec.structs.replace(comparison, notes=(*comparison.notes, *notes)) if notes else comparison


def note(arm: str, definitions: Sequence[Definition]) -> str:
    """Which judgments of this arm count, and in what its definitions, the first run first, differ."""
    said = f"{arm} was judged under {len(definitions)} definitions, which differ in {_difference(definitions)}"
    counting = [definition.counting for definition in definitions if definition.counting]
    if len(counting) > 1:
        said += f": {' and '.join(f'{n:,}' for n in counting)} of their judgments are mixed here, the first run first"
    passed_over = sum(definition.passed_over for definition in definitions)
    if passed_over:
        said += f"; of a pair judged under more than one, what was asked for last counts: {passed_over:,} do not count"
    if len(counting) > 1:
        said += "; judge all pairs under one definition, or give each its own name"
    return said


def _difference(definitions: Iterable[Definition]) -> str:
    arms: list[dict[str, Any]] = [msgspec.json.decode(definition.text) for definition in definitions]
    keys = dict.fromkeys(key for arm in arms for key in arm if key not in _SAME_ANSWERS)
    differing = [key for key in keys if any(arm.get(key) != arms[0].get(key) for arm in arms)]
    return ", ".join(differing) or _ELSEWHERE
