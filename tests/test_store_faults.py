"""What is no store, what cannot be reached, read or written: one error that says what, where and the remedy."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from adjudge.errors import MissingExtra, StoreError
from adjudge.store import engine, migrate, schema
from adjudge.store.store import Store
from adjudge.types import Record

from .stored import ARMS, bought, count, judgment, pair, wanted


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


def refused(url: object, says: str, **how: bool) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        Store.open(str(url), **how)
    assert "\n" not in str(caught.value)


def test_what_is_no_sqlite_file_is_refused_untouched(path):
    path.write_text("id,prompt\n1,hello\n" * 100)
    before = path.read_bytes()
    refused(path, r"s.db: is no SQLite database; give another path")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_another_programs_database_is_refused_untouched(path):
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript("PRAGMA journal_mode = WAL; CREATE TABLE songs (title); INSERT INTO songs VALUES ('x')")
    before = path.read_bytes()
    refused(path, "is another program's database .it has a table 'songs'.; give another path")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.postgres
def test_tables_of_another_program_are_left_alone(postgres):
    import psycopg

    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE songs (title text)")
    with Store.open(postgres) as store:  # no name of ours is taken: both live in one schema
        assert store.evaluators() == []
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM songs").fetchone() == (0,)


@pytest.mark.postgres
def test_a_table_of_another_program_under_our_name_is_refused(postgres):
    import psycopg

    with psycopg.connect(postgres) as connection:
        connection.execute("CREATE TABLE runs (distance real)")
    refused(postgres, "is another program's database .it has a table 'runs'.")


def test_a_store_of_a_newer_version_is_refused_with_the_remedy(store_url):
    with Store.open(store_url) as store:
        newer = sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9000'")
        store._database.write(lambda c: c.execute(newer))
    refused(store_url, "was written by a newer adjudge .schema 9000, this one knows 0002.; upgrade adjudge")


def test_what_is_not_there_is_made_only_when_asked(path):
    refused(path, "s.db: no such file; `adjudge judge` and `adjudge import` make one", create=False)
    assert not path.exists()
    path.touch()
    refused(path, "s.db: is empty", create=False)
    assert path.read_bytes() == b""
    with Store.open(str(path.parent / "a" / "b" / "s.db")):
        assert (path.parent / "a" / "b" / "s.db").exists()
    refused("/proc/nowhere/s.db", "cannot be made: .*; give a path that can be written")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "in memory keeps nothing; give a file"),
        (":memory:", "in memory keeps nothing; give a file"),
        ("mysql://host/x", "cannot be kept in 'mysql'; give a file"),
        ("://x", "cannot be read; write FILE.db"),
        ("postgresql://host:port/x", "cannot be read; write FILE.db"),
    ],
)
def test_a_url_of_no_store_is_refused_with_the_remedy(url, says):
    refused(url, says)


def test_every_way_to_write_a_path_opens_the_same_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store.open("s.db") as store:
        store.begin_run("ev", ARMS)
    for url in ("./s.db", "sqlite:///s.db", f"sqlite:///{tmp_path}/s.db", str(tmp_path / "s.db")):
        with Store.open(url, create=False) as store:
            assert count(store, "runs") == 1


def test_a_path_may_hold_any_character(tmp_path):
    path = tmp_path / "100% of? the #judge's &data.db"
    with Store.open(str(path)) as store:
        store.begin_run("ev", ARMS)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_server_that_is_not_there_is_named_without_the_password():
    with pytest.raises(StoreError) as caught:
        Store.open("postgresql://ann:hunter2@127.0.0.1:1/x")
    said = str(caught.value)
    assert said.startswith("store postgresql://ann:***@127.0.0.1:1/x: cannot be reached: ")
    assert said.endswith("see that the server runs and the URL is right")
    assert "hunter2" not in said
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_without_the_driver_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"psycopg.* is not installed; run: pip install 'adjudge\[postgres\]'"):
        Store.open("postgresql://host/x")


def test_a_full_disk_is_said_and_what_was_written_stays(path):
    with Store.open(str(path)) as store:
        run = store.begin_run("ev", ARMS).id
        store.put(run, [bought(pair(1))])
        pages = store._database.pragma("page_count")
        store._database.pragma(f"max_page_count = {pages}")  # what SQLite says then, it says of a full disk
        with pytest.raises(StoreError, match=r"s.db: the disk is full; free some space and run again"):
            store.put(run, [bought(pair(2), judgment(completion_ab="x" * 10**6))])
        assert [r.pair for r in store.records()] == [pair(1)]
        assert store.spend().judgments == 1
        store._database.pragma("max_page_count = 100000")
        store.put(run, [bought(pair(2))])
        assert store.spend().judgments == 2


def test_a_read_only_store_is_read_and_says_so_when_written(path):
    with Store.open(str(path)) as store:
        store.put(store.begin_run("ev", ARMS).id, [bought(pair(1))])
    with Store.open(str(path)) as store:
        store._database.pragma("query_only = 1")
        assert [r.pair for r in store.records()] == [pair(1)]
        with pytest.raises(StoreError, match=r"s.db: is read-only; make the file and its folder writable"):
            store.begin_run("ev", ARMS)
        store._database.pragma("query_only = 0")


def test_a_store_that_stays_locked_is_said_to_be(path, monkeypatch):
    monkeypatch.setattr(engine, "LOCK_WAIT_S", 0.2)
    with Store.open(str(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        run = store.begin_run("ev", ARMS).id
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"s.db: was locked by another process for over"):
            store.put(run, [bought(pair(1))])
        assert list(store.records()) == []  # reading goes on
        other.execute("COMMIT")
        store.put(run, [bought(pair(1))])


def test_a_damaged_store_is_said_to_be(path):
    with Store.open(str(path)) as store:
        run = store.begin_run("ev", ARMS).id
        store.put(run, [bought(pair(i)) for i in range(200)])
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(StoreError, match=r"s.db: is damaged; restore a copy"), Store.open(str(path)) as store:
        list(store.records())


@pytest.mark.postgres
def test_a_connection_that_was_cut_is_made_again(postgres):
    import psycopg

    with Store.open(postgres) as store:
        run = store.begin_run("ev", ARMS).id
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname <> ''"
        with psycopg.connect(postgres) as connection:
            connection.execute(cut)
        store.put(run, [bought(pair(1))])
        assert store.spend().judgments == 1


# -- the schema and its migrations


def test_migrations_make_the_tables_that_the_code_knows(store_url):
    with Store.open(store_url) as store, store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_knows():
    assert ScriptDirectory(str(migrate.MIGRATIONS)).get_heads() == [schema.REVISION]


def test_an_older_store_is_migrated_with_its_data(store_url, tmp_path, monkeypatch):
    with Store.open(store_url) as store:
        store.put(store.begin_run("ev", ARMS).id, [bought(pair(1))])
        before = list(store.records(calls=True))
    newer = tmp_path / "migrations"
    (newer / "versions").mkdir(parents=True)
    for file in migrate.MIGRATIONS.rglob("*.py"):
        (newer / file.relative_to(migrate.MIGRATIONS)).write_bytes(file.read_bytes())
    (newer / "versions" / "m0003_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        "revision, down_revision = '0003', '0002'\n"
        "def upgrade():\n"
        "    op.add_column('runs', sa.Column('note', sa.Text))\n"
        "    op.execute(\"UPDATE runs SET note = 'kept'\")\n"
    )
    with monkeypatch.context() as later:
        later.setattr(migrate, "MIGRATIONS", newer)
        later.setattr(migrate, "REVISION", "0003")
        with Store.open(store_url, create=False) as store:
            assert list(store.records(calls=True)) == before
            with store._database.read() as connection:
                assert connection.execute(sa.text("SELECT note FROM runs")).scalars().all() == ["kept"]
    refused(store_url, "schema 0003, this one knows 0002")


def test_a_migration_that_fails_leaves_the_store_as_it_was(store_url, tmp_path, monkeypatch):
    broken = tmp_path / "migrations"
    (broken / "versions").mkdir(parents=True)
    for file in migrate.MIGRATIONS.rglob("*.py"):
        (broken / file.relative_to(migrate.MIGRATIONS)).write_bytes(file.read_bytes())
    file = broken / "versions" / "m0001_judgments.py"
    file.write_text(file.read_text().replace("    _calls()\n", "    raise RuntimeError('power cut')\n", 1))
    with monkeypatch.context() as later:
        later.setattr(migrate, "MIGRATIONS", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            Store.open(store_url)
    with Store.open(store_url) as store:  # nothing was left that looks like another program's table
        assert store.evaluators() == []


def test_opening_a_store_that_is_up_to_date_loads_no_migration_tool(path):
    Store.open(str(path)).close()
    code = (
        "import sys; from adjudge.store.store import Store; Store.open(sys.argv[1]).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)


# -- what must be found by an index


def test_nothing_is_searched_through_however_many_judgments_there_are(path):
    seen: list[str] = []
    one = Record(pair=pair(1), evaluator="old", judgments={"x": msgspec.structs.replace(judgment(), arm="x")})
    with Store.open(str(path)) as store:
        store.import_records([one], "r")
        run = store.begin_run("ev", ARMS).id
        sa.event.listen(store._database.engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
        store.claim(run, [wanted(pair(1)), wanted(pair(2))])
        store.put(run, [bought(pair(1)), bought(pair(2))])
        store.claim(run, [wanted(pair(1))])
        renamed = store.begin_run("new name", {"key-plain": ("cheap", "{}")}).id
        store.claim(renamed, [wanted(pair(1), "key-plain", "cheap")])
        store.relabel(renamed, [pair(1, gold="B")])
        store.import_records([one], "r")
        with store._database.read() as connection:
            plans = {
                row.detail
                for statement in {s for s in seen if s.startswith(("SELECT", "UPDATE", "DELETE"))}
                for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, ("[]",) * statement.count("?"))
            }
    scans = {plan for plan in plans if plan.startswith("SCAN") and "VIRTUAL TABLE" not in plan}
    small = {"SCAN arms", "SCAN claims USING COVERING INDEX ix_claims_run_id"}  # a few rows; what is in flight
    assert {plan.split(" USING TEMP")[0] for plan in scans} <= small, scans
    assert len(plans) > 10
