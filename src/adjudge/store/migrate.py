"""Bring a database to the schema that this version knows, or refuse it untouched.

Alembic is imported only when there is something to migrate.
"""

import time
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.errors import StoreError
from adjudge.store.engine import LOCK_WAIT_S, Database, StoreBusy
from adjudge.store.schema import REVISION, VERSION_TABLE, metadata

MIGRATIONS = Path(__file__).parent / "migrations"
READ_AS_IT_IS = "0001"  # the oldest schema whose tables are read as they are
_LOCK = 0x61646A7564676500  # among PostgreSQL's advisory locks


def ready(database: Database, *, create: bool) -> None:
    """Migrate `database` if need be. Safe for any number of processes at once.

    One that is opened to be read (not `create`) and cannot be written stays as it is, where it can be read so.
    Raises StoreError when it is missing and not `create`, another program's, or of a newer version.
    """
    if database.path is not None and not database.path.exists():
        if not create:
            raise StoreError(f"store {database.shown}: no such file; `adjudge judge` and `adjudge import` make one")
        _make_folder(database)
    with database.read() as connection:
        version = _version(database, connection)
    if version == REVISION:
        return
    if version is None and not create:
        raise StoreError(f"store {database.shown}: is empty; `adjudge judge` and `adjudge import` fill one")
    try:
        if database.path is not None:
            _use_wal(database)
        database.write(lambda connection: _upgrade(database, connection))
    except StoreError:
        # Who only reads may have no right to write. What is read stands in older stores as it does in new ones.
        if create or version is None or version < READ_AS_IT_IS:
            raise


def _version(database: Database, connection: Connection) -> str | None:
    """The revision of the schema, None for an empty database; refuses what is not ours and what is newer."""
    names = set(sa.inspect(connection).get_table_names())
    if VERSION_TABLE not in names:
        foreign = names if database.path is not None else names & metadata.tables.keys()
        if foreign:
            raise database.error(f"is another program's database (it has a table {min(foreign)!r}); give another path")
        return None
    version = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 -- a constant
    if version is not None and version > REVISION:
        raise database.error(
            f"was written by a newer adjudge (schema {version}, this one knows {REVISION}); upgrade adjudge"
        )
    return version if version is None else str(version)


def _upgrade(database: Database, connection: Connection) -> None:
    if database.path is None:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    if _version(database, connection) == REVISION:  # another process was faster
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _use_wal(database: Database) -> None:
    """Journal mode is a property of the file. Changing it does not wait for locks by itself, so this does."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            mode = database.pragma("journal_mode = WAL")
        except StoreBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise database.error("cannot use a write-ahead log here; keep it on a local disk, or use PostgreSQL")
        return


def _make_folder(database: Database) -> None:
    assert database.path is not None
    try:
        database.path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise database.error(f"cannot be made: {error.strerror}; give a path that can be written") from None
