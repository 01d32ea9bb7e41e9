"""Judgments kept: SQLite (WAL) by default, PostgreSQL by URL, the same SQLAlchemy Core code on both.

A judgment, its calls and its cost are written in one transaction, which also gives back the claim on it. A claim is
written before anything is bought, so what was in flight when a process died is known and counted.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import msgspec
import sqlalchemy as sa

from adjudge.store import claims, definitions, importing, lookup, migrate, reading, relabel, schema, writing
from adjudge.store.definitions import Definition
from adjudge.store.engine import Database
from adjudge.store.keep import now_ns
from adjudge.store.lookup import Found
from adjudge.store.statements import among, batches, insert_rows
from adjudge.store.values import Bought, Claim, RunInfo, Spend, Wanted
from adjudge.types import Judgment, Pair, Record

__all__ = ["Bought", "Claim", "RunInfo", "Spend", "Store", "Wanted"]


class Store(AbstractContextManager["Store"]):
    """One store. Its methods block; call them from a worker thread where an event loop runs. Safe to use from one
    thread at a time; any number of processes may hold the same store.

    Every method raises StoreError when the database cannot be reached, read or written: what, where, the remedy.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._runs: dict[int, claims.Run] = {}
        self._came_ns = 0

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> "Store":
        """Open a store by URL or path (`judgments.db`, `sqlite:///x.db`, `postgresql://...`) and migrate it if need be.

        Raises StoreError when it cannot be opened, is no store, is of a newer version, or is missing and not `create`.
        """
        database = Database(url)
        try:
            migrate.ready(database, create=create)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Let go of the database. Runs that were not ended leave their claims for the next run to find and count."""
        try:
            for run_id in self._runs:
                self._end(run_id, void=True)
        finally:
            self._runs.clear()
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- a run of judging

    def begin_run(self, evaluator: str, arms: dict[str, tuple[str, str]]) -> RunInfo:
        """Register a living run. `arms`: arm_key -> (arm name, definition as JSON without secrets)."""

        def work(connection: sa.Connection) -> tuple[claims.Run, int]:
            interrupted = claims.clear_dead(connection)
            claims.keep_arms(connection, evaluator, arms)
            run_id = claims.begin(connection, "judge", evaluator=evaluator)
            return claims.Run(run_id, evaluator, claims.places(connection, evaluator)), interrupted

        run, interrupted = self._database.write(work)
        self._runs[run.id] = run
        return RunInfo(run.id, interrupted)

    def heartbeat(self, run_id: int) -> None:
        """Say that the run lives; claims of a run silent for 60 s, or whose process is gone on this host, are void."""
        runs = schema.runs
        living = sa.update(runs).where(runs.c.run_id == run_id)
        self._database.write(lambda c: c.execute(living.values(heartbeat_ns=now_ns(c))))

    def claim(self, run_id: int, wanted: Sequence[Wanted]) -> list[Claim]:
        """Claim a batch in one transaction; one answer per wanted judgment, in order.

        What is done counts for this run's evaluator and arm names from now on, where it was bought under others.
        """
        if not wanted:
            return []
        run, came_ns = self._run(run_id), self._next_places(len(wanted))
        return self._database.write(lambda c: claims.claim(c, run, wanted, came_ns))

    def put(self, run_id: int, bought: Sequence[Bought]) -> None:
        """Write judgments with their calls and cost and give back their claims, in one transaction.

        A second finished judgment of the same key never counts (its spend does).
        """
        if bought:
            run, came_ns = self._run(run_id), self._next_places(len(bought))
            self._database.write(lambda c: writing.put(c, run, bought, came_ns))

    def finished(self, wanted: Sequence[Wanted]) -> dict[str, Judgment]:
        """key -> what was bought for it, by whichever run, with its calls; what is not done is left out."""
        with self._database.read() as connection:
            return reading.finished(connection, wanted)

    def release(self, run_id: int, keys: Sequence[str]) -> None:
        """Give back claims of what was not bought."""
        held = schema.claims

        def work(connection: sa.Connection) -> None:
            for part in batches(keys):
                connection.execute(sa.delete(held).where(held.c.run_id == run_id, among(connection, held.c.key, part)))

        if keys:
            self._database.write(work)

    def relabel(self, run_id: int, pairs: Sequence[Pair]) -> int:
        """Bring gold, domain, source and meta of this evaluator's records of these pairs up to date, where the texts
        are the same; how many had changed. For pairs whose judgments are done: `put` does it for what is bought."""
        if not pairs:
            return 0
        run = self._run(run_id)
        return self._database.write(lambda c: relabel.relabel(c, run, pairs))

    def end_run(self, run_id: int) -> None:
        """The run is over; what it still claimed is given back."""
        self._end(run_id, void=False)
        self._runs.pop(run_id, None)

    # -- rubrics written by a rubric arm, kept by key

    def rubric(self, key: str) -> str | None:
        with self._database.read() as connection:
            return connection.execute(sa.select(schema.rubrics.c.text).where(schema.rubrics.c.key == key)).scalar()

    def keep_rubric(self, run_id: int, key: str, text: str) -> str:
        """Keep a rubric's text; the first one kept under a key wins and is returned. Its cost stands in the judgment
        that bought it."""

        def work(connection: sa.Connection) -> str:
            insert_rows(
                connection, schema.rubrics, ("key", "run_id", "text"), [(key, run_id, text)], "ON CONFLICT DO NOTHING"
            )
            kept = sa.select(schema.rubrics.c.text).where(schema.rubrics.c.key == key)
            return str(connection.execute(kept).scalar_one())

        return self._database.write(work)

    # -- whole records in and out

    def import_records(self, records: Iterable[Record], source: str) -> tuple[int, int]:
        """Add records, all or none; (added, already there). `source` says where they came from.

        Raises StoreError when an id comes with other texts, or an (id, evaluator) with another gold label or source, or
        an (id, evaluator, arm) with another judgment. `records` is read once, as a stream, inside one transaction.
        """
        came_ns = self._next_places(0)
        return self._database.write(lambda c: importing.add(c, records, source, came_ns), once=True)

    def records(self, evaluator: str | None = None, *, texts: bool = True, calls: bool = False) -> Iterator[Record]:
        """Records in the order in which their pairs came in, streamed from one state of the store.

        For an arm judged under several definitions, and for an id judged with several texts, what was wanted last
        counts. `texts=False` leaves prompts, responses, completions and reasoning out (None); `calls=True` adds each
        judgment's calls.
        """
        with self._database.read() as connection:
            yield from reading.stream(connection, evaluator, texts=texts, with_calls=calls)

    def find(self, evaluator: str, keys: Collection[str], *, calls: bool = False) -> dict[str, Found]:
        """The finished judgments of these keys (see Wanted) with their pairs, as this evaluator's records have them."""
        with self._database.read() as connection:
            return lookup.find(connection, evaluator, keys, calls=calls)

    def evaluators(self) -> list[str]:
        """The evaluators of which there are records, by name."""
        with self._database.read() as connection:
            return sorted(connection.execute(sa.select(schema.records.c.evaluator).distinct()).scalars())

    def redefined(self, evaluator: str | None = None) -> dict[tuple[str, str], list[Definition]]:
        """(evaluator, arm) -> definitions, the first run first, for every arm judged under two or more of them."""
        with self._database.read() as connection:
            return definitions.several(connection, evaluator)

    def spend(self, run_id: int | None = None) -> Spend:
        """What a run has spent, or all runs together. Imported judgments were bought elsewhere and do not count."""
        runs = schema.runs
        columns = (runs.c[name] for name in writing.SPEND)
        sums = sa.select(*(sa.cast(sa.func.coalesce(sa.func.sum(c), 0), c.type).label(c.name) for c in columns))
        with self._database.read() as connection:
            row = connection.execute(sums if run_id is None else sums.where(runs.c.run_id == run_id)).one()
        return msgspec.convert(tuple(row), Spend)

    def _end(self, run_id: int, *, void: bool) -> None:
        self._database.write(lambda c: claims.end(c, run_id, void=void))

    def _run(self, run_id: int) -> claims.Run:
        if run_id not in self._runs:
            raise self._database.error(f"run {run_id} was not begun here, or is over; begin another")
        return self._runs[run_id]

    def _next_places(self, count: int) -> int:
        """The first of `count` places after all that this store gave out before: the clock, where it is ahead."""
        first = max(time.time_ns(), self._came_ns)
        self._came_ns = first + count
        return first
