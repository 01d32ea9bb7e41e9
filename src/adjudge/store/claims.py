"""Who buys what: runs, their claims, and the claims of runs that died.

A claim is a row under the judgment's key, written before anything is bought and deleted in the transaction that writes
the judgment. Whoever finds a row there leaves that judgment alone, unless the run that wrote it is dead.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import liveness, rows
from adjudge.store.keep import Arrival, keep_entries, keep_records, now_ns
from adjudge.store.schema import arms, claims, entries, judgments, pairs, records, runs
from adjudge.store.statements import among, among_given, insert_rows, is_postgresql, listed
from adjudge.store.values import Claim, Wanted

# Arms of live runs come after the arms that a record was imported with.
_LIVE_PLACE = 1 << 20


class Run(NamedTuple):
    """A run of judging. `places` orders its arms, by name, in records."""

    id: int
    evaluator: str
    places: dict[str, int]


def begin(connection: Connection, kind: str, evaluator: str | None = None, origin: str | None = None) -> int:
    """The number of a new run of this process."""
    process, now = liveness.this_process(), now_ns(connection)
    inserting = sa.insert(runs).values(
        kind=kind,
        evaluator=evaluator,
        origin=origin,
        host=process.host,
        pid=process.pid,
        process_started=process.started,
        started_ns=now,
        heartbeat_ns=now,
    )
    return int(connection.execute(inserting.returning(runs.c.run_id)).scalar_one())


def keep_arms(connection: Connection, evaluator: str, definitions: dict[str, tuple[str, str]]) -> None:
    new = [(evaluator, name, key, definition) for key, (name, definition) in definitions.items()]
    insert_rows(connection, arms, ("evaluator", "name", "arm_key", "definition"), new, "ON CONFLICT DO NOTHING")


def places(connection: Connection, evaluator: str) -> dict[str, int]:
    """Where an evaluator's arms stand in its records: in the order in which they were first run."""
    first = sa.select(arms.c.name, sa.func.min(arms.c.arm_id)).where(arms.c.evaluator == evaluator)
    return {name: _LIVE_PLACE + place for name, place in connection.execute(first.group_by(arms.c.name))}


def clear_dead(connection: Connection) -> int:
    """Delete the claims of dead runs; how many there were."""
    holders = set(connection.execute(sa.select(claims.c.run_id).distinct()).scalars())
    dead = dead_among(connection, holders)
    return connection.execute(sa.delete(claims).where(claims.c.run_id.in_(list(dead)))).rowcount if dead else 0


def end(connection: Connection, run_id: int, *, void: bool) -> None:
    """The run buys no more. Its claims are given back, or, with `void`, left for the next run to find and count."""
    if not void:
        connection.execute(sa.delete(claims).where(claims.c.run_id == run_id))
    connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(ended_ns=now_ns(connection)))


def finished(connection: Connection, keys: Collection[str]) -> dict[str, int]:
    """The finished judgments among these keys: key -> judgment_id."""
    found = _finished(is_postgresql(connection))
    return dict(connection.execute(found, {"keys": listed(connection, keys)}).all())


@lru_cache
def _finished(postgresql: bool) -> sa.Select[Any]:
    found = sa.select(judgments.c.final_key, judgments.c.judgment_id)
    return found.where(among_given(judgments.c.final_key, "keys", postgresql=postgresql))


def claim(connection: Connection, run: Run, wanted: Sequence[Wanted], came_ns: int) -> list[Claim]:
    """One answer per wanted judgment, in order; the i-th pair came in at `came_ns` + i."""
    place = {w.key: came_ns + i for i, w in reversed(list(enumerate(wanted)))}
    done = finished(connection, place)
    rest = sorted(place.keys() - done.keys())
    mine: set[str] = set()
    if rest:
        new = [(key, run.id, place[key]) for key in rest]
        added = insert_rows(connection, claims, ("key", "run_id", "came_ns"), new, "ON CONFLICT DO NOTHING")
        mine = set(rest) if added == len(rest) else _mine(connection, run.id, rest, place)
        # Another run may have finished and given back its claim between the two looks; on SQLite none can.
        late = finished(connection, mine) if mine and is_postgresql(connection) else {}
        if late:
            connection.execute(sa.delete(claims).where(claims.c.key.in_(list(late))))
            mine -= late.keys()
            done |= late
    _adopt(connection, run, {w: done[w.key] for w in wanted if w.key in done}, place)
    answers = []
    for want in wanted:
        if want.key in done:
            answers.append(Claim.DONE)
        else:
            answers.append(Claim.MINE if want.key in mine else Claim.BUSY)
            mine.discard(want.key)  # wanted twice in one batch: bought once
    return answers


def give_back(connection: Connection, run_id: int, keys: Collection[str]) -> dict[str, int]:
    """Delete this run's claims on these keys; the place of each, in nanoseconds."""
    mine = {"run": run_id, "keys": listed(connection, keys)}
    deleting, whole = _giving_back(is_postgresql(connection))
    if whole is None:
        return dict(connection.execute(deleting, mine).all())
    came = msgspec.json.decode(connection.execute(whole, mine).scalar_one(), type=dict[str, int])
    if came:
        connection.execute(deleting, mine)
    return came


@lru_cache
def _giving_back(postgresql: bool) -> tuple[sa.Executable, sa.Select[Any] | None]:
    held = (claims.c.run_id == sa.bindparam("run"), among_given(claims.c.key, "keys", postgresql=postgresql))
    if postgresql:
        return sa.delete(claims).where(*held).returning(claims.c.key, claims.c.came_ns), None
    whole = sa.func.json_group_object(
        claims.c.key, claims.c.came_ns
    )  # one row, for the reason that `insert_rows` names
    return sa.delete(claims).where(*held), sa.select(whole).where(*held)


def _mine(connection: Connection, run_id: int, keys: Sequence[str], place: dict[str, int]) -> set[str]:
    """Which of these keys this run holds by the claims that were just written, or takes over from dead runs."""
    held = connection.execute(sa.select(claims).where(among(connection, claims.c.key, keys))).all()
    others = {row.key: row.run_id for row in held if row.run_id != run_id}
    mine = {row.key for row in held if row.run_id == run_id and row.came_ns == place[row.key]}
    return mine | (_take_over(connection, run_id, others, place) if others else set())


def _take_over(connection: Connection, run_id: int, others: dict[str, int], place: dict[str, int]) -> set[str]:
    """The keys whose claims were held by dead runs and now are this run's."""
    dead = dead_among(connection, set(others.values()))
    taken = set()
    for key in sorted(key for key, holder in others.items() if holder in dead):
        taking = sa.update(claims).where(claims.c.key == key, claims.c.run_id.in_(list(dead)))
        if connection.execute(taking.values(run_id=run_id, came_ns=place[key])).rowcount:
            taken.add(key)
    return taken


def dead_among(connection: Connection, run_ids: set[int]) -> set[int]:
    """The runs among these whose process is gone, or that ended."""
    if not run_ids:
        return set()
    now = now_ns(connection)
    found = connection.execute(sa.select(runs).where(runs.c.run_id.in_(list(run_ids)))).all()
    signs = {
        row.run_id: liveness.Sign(
            liveness.Process(row.host, row.pid, row.process_started), row.heartbeat_ns, row.ended_ns is not None
        )
        for row in found
    }
    return {run_id for run_id, sign in signs.items() if not liveness.is_alive(sign, now)}


def _adopt(connection: Connection, run: Run, done: dict[Wanted, int], place: dict[str, int]) -> None:
    """Let finished judgments count for this run's evaluator and arm names, where they were bought under others."""
    if not done:
        return
    first = {w.pair_key: place[w.key] for w in reversed(done)}
    standing = sa.select(records.c.pair_key, entries.c.arm, entries.c.judgment_id).join(entries)
    standing = standing.where(
        records.c.evaluator == run.evaluator,
        among(connection, records.c.pair_key, first),
        records.c.current_id.is_not(None),
    )
    linked = {(pair_key, arm): number for pair_key, arm, number in connection.execute(standing).all()}
    new = {w: number for w, number in done.items() if linked.get((w.pair_key, w.arm)) != number}
    if not new:
        return
    said = sa.select(records, pairs.c.id, pairs.c.rubric).join(pairs)
    said = said.where(among(connection, records.c.pair_key, {w.pair_key for w in new}))
    found = connection.execute(said).mappings().all()
    known = {row["pair_key"]: row for row in sorted(found, key=lambda row: row["evaluator"] == run.evaluator)}
    arrivals = [Arrival(key, rows.read_pair(row), first[key]) for key, row in known.items()]
    ids = keep_records(connection, run.evaluator, arrivals)
    keep_entries(connection, [(ids[w.pair_key], w.arm, run.places[w.arm], number) for w, number in new.items()])
