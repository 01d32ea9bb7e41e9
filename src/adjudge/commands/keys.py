"""adjudge keys: who may use a gateway, for what, how fast, and for how much."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from adjudge.errors import DataError
from adjudge.gateway.keys import sql as keys_sql
from adjudge.gateway.keys.key import Kept, Key, Scope, hashed, new_id, new_presented
from adjudge.gateway.ledger import sql as ledger_sql
from adjudge.gateway.ledger.values import HOUR_S, WHOLE, WINDOWS, Caps, Totals
from adjudge.gateway.watch.accounts import AUDIT
from adjudge.store import migrate
from adjudge.store.engine import Database, without_password
from adjudge.store.keep import now_ns

DEFAULT_SCOPES = "judge,reward,feedback"
_CAP_OPTIONS = ("hour_usd", "day_usd", "total_usd")
_SHARED = {"all": WHOLE, "audit": AUDIT}
"""Accounts of no key, as they are named here. An id of a key is twelve hexadecimal digits."""


class _Scopes(click.ParamType[frozenset[Scope]]):
    name = "scopes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[Scope]:
        names = [name.strip() for name in str(value).split(",")]
        unknown = [name for name in names if name not in set(Scope)]
        if unknown:
            self.fail(f"no scope {unknown[0]!r}; known: {', '.join(Scope)}", param, ctx)
        return frozenset(map(Scope, names))


class _Dollars(click.ParamType[float | None]):
    """Dollars, or `none`."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        if str(value) == "none":
            return None
        return click.FloatRange(min=0).convert(value, param, ctx)


def _caps_options(kind: click.ParamType[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for name, what in (("total", "in all"), ("day", "in a day (UTC)"), ("hour", "in an hour")):
            option = click.option(f"--{name}-usd", type=kind, metavar="USD", help=f"Hard cap on what it spends {what}.")
            function = option(function)
        return function

    return decorate


_store = click.option("--store", required=True, metavar="URL", help="The gateway's: a file or a postgresql:// URL.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group("keys")
def command() -> None:
    """Make, list and revoke the keys of `adjudge serve`, with their scopes, budgets and rates.

    \b
    adjudge keys add --store gateway.db --name evals --day-usd 5 --rate 600
    adjudge keys list --store gateway.db
    adjudge keys caps --store gateway.db 0a1b2c3d4e5f --day-usd 8
    adjudge keys caps --store gateway.db all --day-usd 50
    adjudge keys revoke --store gateway.db 0a1b2c3d4e5f
    """


@command.command("add")
@_store
@click.option("--name", required=True, help="Whose it is, or what for.")
@click.option("--scopes", type=_Scopes(), default=DEFAULT_SCOPES, show_default=True, help=f"Of {', '.join(Scope)}.")
@_caps_options(click.FloatRange(min=0))
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Requests per minute.")
@click.option(
    "--expires", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), metavar="DATE", help="Refused from then on (UTC)."
)
@_json
def add(
    store: str, name: str, scopes: frozenset[Scope], rate: float | None, expires: datetime | None, as_json: bool,
    **caps: float | None,
) -> None:  # fmt: skip
    """Make a key. It is shown this once: what is kept is its hash."""
    expires_ns = None if expires is None else _expiry_ns(expires)
    key_id, limits = new_id(), Caps(**caps)
    presented = new_presented(key_id)
    with _opened(store, create=True) as database:

        def work(connection: Any) -> Key:
            key = Key(key_id, name, scopes, rate, now_ns(connection), expires_ns)
            keys_sql.add(connection, Kept(key, hashed(presented)))
            if limits != Caps():
                ledger_sql.set_caps(connection, key_id, limits)
            return key

        key = database.write(work)
    if as_json:
        _say({"store": without_password(store), "key": presented, **_row(key, limits, {})})
    else:
        click.echo(presented)
        click.echo(f"The key of {name!r}, id {key_id}. It is not shown again.", err=True)


@command.command("list")
@_store
@_json
def list_keys(store: str, as_json: bool) -> None:
    """Every key, what it may do, and what it has spent of its caps; last all of them together, and audits."""
    with _opened(store) as database, database.read() as connection:
        hour_s = now_ns(connection) // 10**9 // HOUR_S * HOUR_S
        caps = ledger_sql.caps(connection)
        spent = {window: ledger_sql.totals(connection, window, hour_s) for window in WINDOWS}
        keys = [kept.key for kept in keys_sql.load(connection).values()]
    rows = [
        _row(key, caps.get(key.id, Caps()), {window: spent[window].get(key.id, Totals()) for window in WINDOWS})
        for key in keys
    ]
    shared = [
        _row_of(name, caps.get(account, Caps()), {window: spent[window].get(account, Totals()) for window in WINDOWS})
        for name, account in _SHARED.items()
    ]
    if as_json:
        _say({"store": without_password(store), "keys": rows, "shared": shared})
    else:
        _print(rows, shared)


@command.command("revoke")
@click.argument("key_id")
@_store
@_json
def revoke(key_id: str, store: str, as_json: bool) -> None:
    """Refuse a key from now on: everywhere within two seconds."""
    with _opened(store) as database:
        was_valid = database.write(lambda c: keys_sql.revoke(c, key_id))
    if was_valid is None:
        raise _unknown(key_id, store)
    if as_json:
        _say({"store": without_password(store), "id": key_id, "revoked": True, "was_revoked_before": not was_valid})
    else:
        click.echo(f"{key_id} is revoked" if was_valid else f"{key_id} was revoked before")


@command.command("caps")
@click.argument("key_id")
@_store
@_caps_options(_Dollars())
@_json
def change_caps(key_id: str, store: str, as_json: bool, **given: float | None) -> None:
    """Change caps of a key; those that are not named stay, `none` takes one away.

    Instead of a key's id: `all` for the gateway as a whole, `audit` for what `adjudge serve --audit` buys.
    """
    context = click.get_current_context()
    told = {
        name for name in _CAP_OPTIONS if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if not told:
        raise click.UsageError("name a cap to change: --hour-usd, --day-usd or --total-usd")
    with _opened(store) as database:

        def work(connection: Any) -> Caps | None:
            if key_id not in _SHARED and key_id not in keys_sql.load(connection):
                return None
            account = _SHARED.get(key_id, key_id)
            return ledger_sql.change_caps(connection, account, {name: given[name] for name in told})

        caps = database.write(work)
    if caps is None:
        raise _unknown(key_id, store)
    if as_json:
        _say({"store": without_password(store), "id": key_id, **msgspec.to_builtins(caps)})
    else:
        click.echo(f"{key_id}: " + ", ".join(f"{n} {_dollars(getattr(caps, n))}" for n in _CAP_OPTIONS))


@contextmanager
def _opened(store: str, *, create: bool = False) -> Iterator[Database]:
    database = Database(store)
    try:
        migrate.ready(database, create=create)
        yield database
    finally:
        database.close()


def _expiry_ns(expires: datetime) -> int:
    ns = int(expires.replace(tzinfo=UTC).timestamp()) * 10**9
    if ns <= time.time_ns():
        raise click.UsageError(f"--expires {expires:%Y-%m-%d %H:%M} is over; give a time to come")
    if ns >= 2**63:
        raise click.UsageError(f"--expires {expires:%Y} is too far away; leave it out for a key that never expires")
    return ns


def _unknown(key_id: str, store: str) -> DataError:
    return DataError(f"no key has the id {key_id!r}", path=without_password(store), remedy="see `adjudge keys list`")


def _row(key: Key, caps: Caps, spent: dict[str, Totals]) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "state": key.state(time.time_ns()),
        "scopes": sorted(key.scopes),
        "per_minute": key.per_minute,
        "created": _moment(key.created_ns),
        "expires": _moment(key.expires_ns),
        "revoked": _moment(key.revoked_ns),
        **_row_of(key.id, caps, spent),
    }


def _row_of(account: str, caps: Caps, spent: dict[str, Totals]) -> dict[str, Any]:
    told = {window: totals._asdict() for window, totals in spent.items()}
    return {"id": account, "caps": msgspec.to_builtins(caps), "spent": told}


def _moment(ns: int | None) -> str | None:
    return None if ns is None else datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(row: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(row))


def _print(rows: list[dict[str, Any]], shared: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("no keys; make one with `adjudge keys add`")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "state", "scopes", "a minute", "expires"):
        table.add_column(column, no_wrap=column in ("id", "expires"), overflow="fold")
    table.add_column("$ this hour, today, in all", overflow="fold")
    for row in rows:
        rate = "any" if row["per_minute"] is None else f"{row['per_minute']:g}"
        expires = (row["expires"] or "never")[:10]
        table.add_row(row["id"], row["name"], row["state"], " ".join(row["scopes"]), rate, expires, _spent(row))
    for row in shared:
        if rows or any(row["caps"].values()):
            table.add_row(row["id"], "", "", "", "", "", _spent(row))
    if table.row_count:
        Console(markup=False).print(table)  # a name may hold brackets


def _spent(row: dict[str, Any]) -> str:
    """Of the hour, the day and all, each with its cap."""
    return ", ".join(
        f"{row['spent'][window]['usd']:.4g}" + ("" if cap is None else f"/{cap:g}")
        for window, cap in zip(WINDOWS, row["caps"].values(), strict=True)
    )


def _dollars(usd: float | None) -> str:
    return "any" if usd is None else f"{usd:g}"
