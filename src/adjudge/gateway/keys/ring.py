"""The keys as a gateway's process knows them: all of them in memory, looked at anew every two seconds.

A request needs no database, and one with a key that does not exist no more work than one with a key that does. A key
that is revoked is refused everywhere, and a new one taken, at most KNOWN_S seconds later, plus the time of one small
query; a process that cannot read the database lets nobody in on what it knew before.
"""

import asyncio
import math
import time

from adjudge.errors import KeyRefused, RateReached
from adjudge.gateway.keys import sql
from adjudge.gateway.keys.key import Kept, Key, id_of, is_valid
from adjudge.judging.pacing import Bucket
from adjudge.store import migrate
from adjudge.store.engine import Database

KNOWN_S = 2.0
BURST_S = 10.0
"""A minute's allowance is spread: so many seconds of it may be used at once."""


class KeyRing:
    """Use it from one event loop, between `open` and `close`."""

    def __init__(self, url: str) -> None:
        """`url`: of the store that the keys are kept in. Raises StoreError for what is no URL of one."""
        self._database = Database(url)
        self._keys: dict[str, Kept] = {}
        self._stamp: sql.Stamp | None = None
        self._read_at = -math.inf
        self._reading: asyncio.Task[None] | None = None
        self._buckets: dict[str, Bucket] = {}

    async def open(self) -> None:
        await asyncio.to_thread(migrate.ready, self._database, create=True)
        await self._refresh()

    async def close(self) -> None:
        if self._reading is not None:
            await asyncio.wait([self._reading])
        self._database.close()

    async def has_keys(self) -> bool:
        """Whether any key was ever made: where none was, nobody can present one."""
        await self._refresh()
        return bool(self._keys)

    def names(self) -> dict[str, str]:
        """The keys' names by id, as they are known here."""
        return {key_id: kept.key.name for key_id, kept in self._keys.items()}

    async def check(self, presented: str) -> Key:
        """The key that was presented.

        Raises KeyRefused, alike for one that is unknown, wrong, revoked or expired; StoreError when the database cannot
        be read.
        """
        await self._refresh()
        kept = self._keys.get(id_of(presented))
        if not is_valid(presented, kept, time.time_ns()):
            raise KeyRefused
        assert kept is not None
        return kept.key

    def take(self, key: Key, requests: int = 1) -> None:
        """Count requests against the key's rate in this process. Raises RateReached, and then counts nothing."""
        if key.per_minute is None:
            return
        per_s = key.per_minute / 60
        bucket = self._buckets.setdefault(key.id, Bucket(per_s, max(1.0, BURST_S * per_s)))
        wait_s = bucket.wait_s(time.monotonic())
        if wait_s > 0:
            raise RateReached(key.per_minute, wait_s)
        bucket.take(requests)

    async def _refresh(self) -> None:
        if time.monotonic() - self._read_at <= KNOWN_S:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(asyncio.Task.exception)  # seen, also where nobody waits any more
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        """One look for all who wait for it."""
        began = time.monotonic()
        try:
            self._stamp, changed = await asyncio.to_thread(self._changes, self._stamp)
            if changed is not None:
                self._keys = changed
            self._read_at = began
        finally:
            self._reading = None

    def _changes(self, known: sql.Stamp | None) -> tuple[sql.Stamp, dict[str, Kept] | None]:
        with self._database.read() as connection:
            stamp = sql.stamp(connection)
            return stamp, None if stamp == known else sql.load(connection)
