"""Empty databases for tests: a file of SQLite's, and a schema of a PostgreSQL server started for the session."""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server of this session's own, on a Unix socket in a folder that vanishes with it."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'adjudge[postgres]'")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
    if not programs[-1].is_file():
        pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
    # A Unix socket's path must be short, which pytest's own folders are not; and memory is faster than a disk.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    user = _plain_user()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    as_user = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    init = [programs[-1], "-D", folder / "data", "-A", "trust", "-U", "adjudge", "-N", "--locale=C", "-E", "UTF8"]
    subprocess.run(init, check=True, capture_output=True, cwd=folder, **as_user)
    settings = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "max_connections": 60}
    options = itertools.chain.from_iterable(("-c", f"{name}={value}") for name, value in settings.items())
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [programs[-1].with_name("postgres"), "-D", folder / "data", *options],
            stdout=log,
            stderr=log,
            cwd=folder,
            **as_user,
        )
    try:
        yield _ready(f"postgresql://adjudge@/postgres?host={folder}")
    finally:
        server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown"
        server.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """A schema of its own, by way of the search path."""
    import psycopg

    name = f"t{next(_numbers)}"
    with psycopg.connect(postgres_server) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres_server}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    return str(tmp_path / "store.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


def _plain_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _ready(url: str) -> str:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url).close()
            return url
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
