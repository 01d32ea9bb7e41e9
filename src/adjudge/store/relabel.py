"""Labels that were corrected after the judgments were bought."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store.claims import Run
from adjudge.store.keep import Arrival, keep_records
from adjudge.store.rows import HEADER, header
from adjudge.store.schema import records
from adjudge.store.statements import among, batches
from adjudge.types import Pair


def relabel(connection: Connection, run: Run, pairs: Sequence[Pair]) -> int:
    """Bring the headers of the evaluator's records of these pairs up to date; how many had changed."""
    changed = 0
    for part in batches(pairs):
        by_key = {pair.content_key(): pair for pair in part}
        columns = [records.c[name] for name in ("pair_key", "came_ns", *HEADER)]
        standing = sa.select(*columns).where(
            records.c.evaluator == run.evaluator, among(connection, records.c.pair_key, by_key)
        )
        stale = [
            Arrival(row.pair_key, by_key[row.pair_key], row.came_ns)
            for row in connection.execute(standing).all()
            if header(by_key[row.pair_key]) != tuple(row)[2:]
        ]
        if stale:
            keep_records(connection, run.evaluator, stale)
        changed += len(stale)
    return changed
