"""Judgments kept: SQLite (WAL) by default, PostgreSQL by URL, the same SQLAlchemy Core code on both.

A judgment, its calls and its cost are written in one transaction, which also gives back the claim on it. A claim is
written before anything is bought, so what was in flight when a process died is known and counted.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from adjudge.types import Judgment, Pair, Record


class Claim(StrEnum):
    MINE = "mine"  # this run is to buy it
    DONE = "done"  # bought before, with an outcome other than `failed`
    BUSY = "busy"  # another run that is alive is buying it


class Wanted(NamedTuple):
    """A judgment that a run wants. `key` is digest(pair.content_key(), arm_key)."""

    key: str
    pair_key: str
    arm_key: str
    arm: str


class Bought(NamedTuple):
    wanted: Wanted
    pair: Pair
    judgment: Judgment


class RunInfo(NamedTuple):
    id: int
    interrupted: int  # judgments that were in flight when an earlier run of this store died; they are bought again


class Spend(NamedTuple):
    """What was bought, summed over judgments (every attempt at one, the failed ones too) and kept rubrics."""

    judgments: int
    calls: int
    prompt_tokens: int
    output_tokens: int
    cost_usd: float
    unpriced_calls: int  # calls whose usage or price is not known: never counted as free
    unmetered_calls: int  # attempts that may have been billed without saying what


class Store:
    """One store. Its methods block; call them from a worker thread where an event loop runs. Safe to use from one thread
    at a time; any number of processes may hold the same store."""

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> "Store":
        """Open a store by URL or path (`judgments.db`, `sqlite:///x.db`, `postgresql://...`) and migrate it if need be.

        Raises StoreError when it cannot be opened, is no store, is of a newer version, or is missing and not `create`.
        """
        raise NotImplementedError

    def close(self) -> None: ...

    # -- a run of judging

    def begin_run(self, evaluator: str, arms: dict[str, tuple[str, str]]) -> RunInfo:
        """Register a living run. `arms`: arm_key -> (arm name, definition as JSON without secrets)."""
        raise NotImplementedError

    def heartbeat(self, run_id: int) -> None:
        """Say that the run lives; claims of a run silent for 60 s, or whose process is gone on this host, are void."""

    def claim(self, run_id: int, wanted: Sequence[Wanted]) -> list[Claim]:
        """Claim a batch in one transaction; one answer per wanted judgment, in order."""
        raise NotImplementedError

    def put(self, run_id: int, bought: Sequence[Bought]) -> None:
        """Write judgments with their calls and cost and give back their claims, in one transaction.

        A second finished judgment of the same key is never written (its spend still is).
        """

    def release(self, run_id: int, keys: Sequence[str]) -> None:
        """Give back claims of what was not bought."""

    def end_run(self, run_id: int) -> None: ...

    # -- rubrics written by a rubric arm, kept by key

    def rubric(self, key: str) -> str | None:
        raise NotImplementedError

    def keep_rubric(self, run_id: int, key: str, text: str) -> str:
        """Keep a rubric's text; the first one kept under a key wins and is returned. Its cost stands in the judgment that
        bought it."""
        raise NotImplementedError

    # -- whole records in and out

    def import_records(self, records: Iterable[Record], source: str) -> tuple[int, int]:
        """Add records, all or none; (added, already there). Raises StoreError when an id comes with other texts, or an
        (id, evaluator, arm) with another judgment."""
        raise NotImplementedError

    def records(self, evaluator: str | None = None, *, texts: bool = True) -> Iterator[Record]:
        """Records in the order in which their pairs came in, streamed. For an arm judged under several definitions the newest counts. `texts=False` leaves
        prompts, responses, completions and reasoning out (None)."""
        raise NotImplementedError

    def spend(self, run_id: int | None = None) -> Spend:
        raise NotImplementedError
