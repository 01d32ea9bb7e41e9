"""The formats of pairs, and how a row tells which one it is."""

import difflib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from adjudge.errors import ConfigError, DataError
from adjudge.pairs import benchmarks, own, preference
from adjudge.pairs.fields import Reading, Row
from adjudge.types import Pair

RECORDS = "records"
ALPACA, ARENA, ARENA_QUESTIONS = "alpaca-eval", "arena-hard", "arena-hard-questions"
ARENA_V01, ARENA_V01_QUESTIONS = "arena-hard-v0.1", "arena-hard-v0.1-questions"


class Format(NamedTuple):
    """`keys` are what every row has; `fits`, where given, says in their stead whether a row is of this format.

    `unnamed` says of a row that its id is made from its content, so that a repeated id is a repeated row.
    """

    name: str
    keys: str
    pairs: Callable[[Row, Reading], Iterator[Pair]]
    fits: Callable[[Row], bool] | None = None
    unnamed: Callable[[Row], bool] = lambda row: False  # noqa: ARG005

    def missing(self, row: Row) -> list[str]:
        return [key for key in self.keys.split() if key not in row]


def by_name(name: str) -> Format:
    """The format of that name. Raises ConfigError with the nearest known one."""
    if name in FORMATS:
        return FORMATS[name]
    close = difflib.get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(FORMATS)}"
    raise ConfigError(f"no format {name!r}; {hint}")


def recognise(row: Row) -> Format:
    """The format that a row is of. Raises DataError naming the nearest one and what the row lacks of it."""
    for one in FORMATS.values():
        if one.fits(row) if one.fits else not one.missing(row):
            return one
    known = ", ".join(FORMATS)
    nearest = min(FORMATS.values(), key=lambda f: len(f.missing(row)) / len(f.keys.split()))
    missing = nearest.missing(row)
    if len(missing) == len(nearest.keys.split()):
        keys = ", ".join(sorted(map(str, row))[:8]) or "none"
        raise DataError(f"is of no known format (its keys: {keys:.120})", remedy=f"known formats: {known}")
    lacks = f"this row has no {', '.join(map(repr, missing))}" if missing else "this row's fields are not of its types"
    raise DataError(
        f"is of no known format; nearest is {nearest.name!r}, but {lacks}", remedy=f"known formats: {known}"
    )


def _elsewhere(what: str, remedy: str) -> Callable[[Row, Reading], Iterator[Pair]]:
    def refuse(row: Row, reading: Reading) -> Iterator[Pair]:  # noqa: ARG001
        raise DataError(what, remedy=remedy)

    return refuse


def _lists_of(kind: type, keys: str) -> Callable[[Row], bool]:
    def fits(row: Row) -> bool:
        both = [row.get("chosen"), row.get("rejected")]
        return all(key in row for key in keys.split()) and all(
            isinstance(one, list) and all(isinstance(v, kind) for v in one) for one in both
        )

    return fits


def _is_own(row: Row) -> bool:
    return {"response_a", "response_b"} <= row.keys() or "responses" in row or {"id", "gold_index"} <= row.keys()


def _is_skywork(row: Row) -> bool:
    named = isinstance(row.get("source"), str) and not {"id", "prompt"} & row.keys()
    return named and _lists_of(dict, "chosen rejected")(row)


def _always(row: Row) -> bool:  # noqa: ARG001
    return True


_JUDGEBENCH = "pair_id source question response_model response_A response_B label"
_REWARDBENCH = "id prompt chosen chosen_model rejected rejected_model subset"
_REWARDBENCH2 = "id prompt chosen rejected subset num_correct"
_RM_BENCH = "id prompt chosen rejected domain"
_STEPS = "prompt initial_reason_steps chosen rejected"
_SOLUTIONS = "prompt initial_reason_steps full_chosen full_rejected"

_RECORDS = _elsewhere("holds records in a container that they do not have", "save them as JSON Lines or Parquet")
_ONE_MODEL = _elsewhere("holds one model's answers and no pairs", "name the other model's file too: --against FILE")
_QUESTIONS = _elsewhere("holds questions and no answers", "name two files of answers too: ANSWERS --against ANSWERS")

# In the order in which a row is tried: what asks for more comes first.
FORMATS = {
    one.name: one
    for one in (
        Format(RECORDS, "id evaluator arms", _RECORDS),
        Format("own", "id prompt response_a response_b", own.own, _is_own),
        Format("judgebench", _JUDGEBENCH, benchmarks.judgebench),
        Format("llmbar", "input output_1 output_2 label", benchmarks.llmbar, unnamed=_always),
        Format("rewardbench2", _REWARDBENCH2, benchmarks.rewardbench2, _lists_of(str, _REWARDBENCH2)),
        Format("rewardbench", _REWARDBENCH, benchmarks.rewardbench),
        Format("rm-bench", _RM_BENCH, benchmarks.rm_bench, _lists_of(str, _RM_BENCH)),
        Format("math-step-dpo", _STEPS, preference.math_step_dpo, unnamed=_always),
        Format("math-step-dpo-full", _SOLUTIONS, preference.math_step_dpo_full, unnamed=_always),
        Format("code-preference", "input accepted rejected", preference.code_preference, unnamed=_always),
        Format("skywork", "chosen rejected source", preference.skywork, _is_skywork, unnamed=_always),
        Format("preference", "chosen rejected", preference.preference, unnamed=lambda row: row.get("id") is None),
        Format(ALPACA, "instruction output", _ONE_MODEL),
        Format(ARENA, "uid model messages", _ONE_MODEL),
        Format(ARENA_QUESTIONS, "uid category prompt", _QUESTIONS),
        Format(ARENA_V01, "question_id choices", _ONE_MODEL),
        Format(ARENA_V01_QUESTIONS, "question_id turns", _QUESTIONS),
    )
}
