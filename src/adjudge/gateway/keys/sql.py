"""The keys' statements: each runs in the transaction of `connection`."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.gateway.keys.key import Kept, Key, Scope
from adjudge.store.keep import now_ns
from adjudge.store.schema import gateway_keys


class Stamp(NamedTuple):
    """Keys are added and revoked, and nothing else ever happens to them: equal stamps, equal keys."""

    keys: int
    revoked: int


def stamp(connection: Connection) -> Stamp:
    counts = sa.select(sa.func.count(), sa.func.count(gateway_keys.c.revoked_ns)).select_from(gateway_keys)
    return Stamp(*connection.execute(counts).one())


def load(connection: Connection) -> dict[str, Kept]:
    """Every key, the oldest first, by id."""
    found = connection.execute(sa.select(gateway_keys).order_by(gateway_keys.c.created_ns, gateway_keys.c.key_id))
    return {row["key_id"]: _kept(row) for row in found.mappings()}


def add(connection: Connection, kept: Kept) -> None:
    key = kept.key
    connection.execute(
        sa.insert(gateway_keys).values(
            key_id=key.id,
            name=key.name,
            secret_hash=kept.secret_hash,
            scopes=" ".join(sorted(key.scopes)),
            per_minute=key.per_minute,
            created_ns=key.created_ns,
            expires_ns=key.expires_ns,
            revoked_ns=key.revoked_ns,
        )
    )


def revoke(connection: Connection, key_id: str) -> bool | None:
    """Whether it was not revoked before; None where there is no such key."""
    mine = gateway_keys.c.key_id == key_id
    revoking = sa.update(gateway_keys).where(mine, gateway_keys.c.revoked_ns.is_(None))
    if connection.execute(revoking.values(revoked_ns=now_ns(connection))).rowcount:
        return True
    return None if connection.execute(sa.select(gateway_keys.c.key_id).where(mine)).first() is None else False


def _kept(row: sa.RowMapping) -> Kept:
    scopes = frozenset(map(Scope, row["scopes"].split()))
    times = (row["created_ns"], row["expires_ns"], row["revoked_ns"])
    return Kept(Key(row["key_id"], row["name"], scopes, row["per_minute"], *times), row["secret_hash"])
