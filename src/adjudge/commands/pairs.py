"""adjudge pairs: check, convert and mix files of pairs."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from adjudge.commands.counting import counted
from adjudge.errors import ConfigError
from adjudge.pairs import domains, own
from adjudge.pairs.formats import FORMATS
from adjudge.pairs.mix import Mixed, Source, mix
from adjudge.pairs.outputs import read_outputs
from adjudge.pairs.read import Checked, Pairs, read, tally

F = TypeVar("F", bound=Callable[..., Any])

_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
_out = click.option("--out", required=True, type=click.Path(path_type=Path), help=".jsonl, .jsonl.gz or .parquet")
_seed = click.option("--seed", default=0, show_default=True, help="Of the hashes that draw sides, orders and choices.")


def _source(function: F) -> F:
    for decorate in (
        click.argument("file"),
        click.option("--format", "form", metavar="NAME", help=f"Not by content: {', '.join(FORMATS)}."),
        click.option("--against", metavar="FILE", help="The other model's answers (AlpacaEval, Arena-Hard)."),
        click.option("--questions", metavar="FILE", help="Arena-Hard's questions, for prompts and categories."),
        click.option("--as-pairs", is_flag=True, help="Best of n as one pair per right and wrong response."),
        _seed,
    ):
        function = decorate(function)
    return function


@click.group("pairs")
def command() -> None:
    """Check, convert and mix files of pairs: benchmarks, preference data, two models' answers, our own rows.

    A FILE is JSON Lines, a JSON array or CSV (plain or gzip), or Parquet; hub:ORG/NAME[:SPLIT] is a dataset of the hub.
    """


@command.command("check")
@_source
@_json
def check(as_json: bool, **source: Any) -> None:
    """Read the whole FILE and say what it holds."""
    checked = tally(_watched("checking", _open(**source)))
    if as_json:
        _print_json({**msgspec.to_builtins(checked), "topics": domains.of_topics(checked.domains)})
    else:
        _print_checked(source["file"], checked)


@command.command("convert")
@_source
@_out
@_json
def convert(out: Path, as_json: bool, **source: Any) -> None:
    """Write the pairs of FILE as our own rows."""
    pairs = _watched("converting", _open(**source))
    count = own.write(out, pairs)
    if as_json:
        _print_json({"out": str(out), "count": count, "format": pairs.format, "left_out": pairs.left_out})
    else:
        click.echo(f"{out}: {count:,} pairs from {source['file']} ({pairs.format})")
        _print_left_out(pairs.left_out)


@command.command("mix")
@click.argument("files", nargs=-1, required=True)
@_out
@click.option("--total", type=int, help="Pairs to write; left out: as many as the shares allow.")
@click.option("--share", "shares", multiple=True, metavar="DOMAIN=SHARE", help="As math=0.25; may be repeated.")
@click.option("--take", "takes", multiple=True, metavar="FILE=SHARE|COUNT", help="As a.jsonl=0.5 or a.jsonl=2000.")
@_seed
@_json
def mix_(files: tuple[str, ...], out: Path, total: int | None, as_json: bool, **drawn: Any) -> None:
    """Join FILES into one set with shares by domain, and say which domains are thin.

    A DOMAIN is a domain's name, one part of its path, or "math" or "code" wherever the name tells.
    """
    shares = {key: _number(value, key) for key, value in _named(drawn["shares"]).items()}
    takes = _named(drawn["takes"])
    if unknown := takes.keys() - set(files):
        raise ConfigError(f"--take names {sorted(unknown)[0]!r}, which is no FILE to mix")
    sources = [_taken(file, takes.get(file)) for file in files]
    mixed = mix(sources, out, total=total, seed=drawn["seed"], shares_by_domain=shares, watch=_watched)
    if as_json:
        _print_json({"out": str(out), **msgspec.to_builtins(mixed), "thin_below": domains.THIN_PAIRS})
    else:
        _print_mixed(out, mixed)


def _open(file: str, form: str | None, against: str | None, questions: str | None, as_pairs: bool, seed: int) -> Pairs:
    if against is None:
        if questions is not None:
            raise ConfigError("--questions goes with two files of answers: FILE --against FILE")
        return read(file, format=form, seed=seed, as_pairs=as_pairs)
    return read_outputs(file, against, questions=questions, seed=seed)


def _taken(file: str, amount: str | None) -> Source:
    if amount is None:
        return Source(path=file)
    if amount.isdecimal() and amount not in ("0", "1"):
        return Source(path=file, count=int(amount))
    return Source(path=file, share=_number(amount, file))


def _named(texts: tuple[str, ...]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in texts:
        key, sign, value = text.rpartition("=")
        if not (key and sign):
            raise ConfigError(f"{text!r} is not of the form NAME=NUMBER; write it as math=0.25")
        if key in named:
            raise ConfigError(f"{key!r} is given twice; give it once")
        named[key] = value
    return named


def _number(value: str, key: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"{key}={value}: {value!r} is no number; write it as {key}=0.25") from None


def _watched(what: str, pairs: Pairs) -> Pairs:
    """The same pairs, with a count on stderr once they take over a second and stderr is a terminal."""
    return Pairs(pairs.format, counted(f"{what}: {{}} pairs", pairs), pairs.left_out)


def _print_json(value: dict[str, Any]) -> None:
    click.echo(msgspec.json.encode(value))


def _print_checked(file: str, checked: Checked) -> None:
    click.echo(f"{file}: {checked.count:,} pairs ({checked.format})")
    click.echo(f"gold: A {checked.gold_a:,}, B {checked.gold_b:,}, none {checked.without_gold:,}")
    if checked.without_gold:
        click.echo("  a pair without gold can be judged, but its verdict cannot be scored")
    if checked.best_of_n:
        click.echo(f"best of n: {checked.best_of_n:,}")
    if checked.without_texts:
        click.echo(f"without texts, which no judge can read: {checked.without_texts:,}")
    _print_left_out(checked.left_out)
    _print_columns("domain", {name: (count,) for name, count in checked.domains.items()}, ("pairs",))
    topics = domains.of_topics(checked.domains)
    click.echo(", ".join(f"{name} {count:,}" for name, count in topics.items()))


def _print_mixed(out: Path, mixed: Mixed) -> None:
    click.echo(f"{out}: {mixed.count:,} pairs from {', '.join(f'{n} {c:,}' for n, c in mixed.sources.items())}")
    _print_left_out(mixed.left_out)
    rows = {name: (d.available, d.chosen, d.with_gold) for name, d in mixed.domains.items()}
    _print_columns("domain", rows, ("found", "taken", "with gold"), marked=mixed.thin)
    for name, (wanted, found) in mixed.short.items():
        click.echo(f"short: {name} was to have {wanted:,} and has {found:,}")
    if mixed.thin:
        click.echo(f"thin: under {domains.THIN_PAIRS} pairs with gold, too few to see a gain of 10 points")
    for name, count in mixed.topics.items():
        if name in mixed.thin:
            click.echo(f"thin: {name} has {count:,}; a router that never saw {name} cannot send it to reasoning")


def _print_left_out(left_out: Mapping[str, int]) -> None:
    for reason, count in left_out.items():
        click.echo(f"left out: {count:,} x {reason}")


def _print_columns(
    title: str, rows: Mapping[str, tuple[int, ...]], heads: tuple[str, ...], marked: Collection[str] = ()
) -> None:
    width = max([len(title), *(len(name) for name in rows)])
    click.echo(f"{title:{width}}" + "".join(f"{head:>12}" for head in heads))
    for name, counts in rows.items():
        mark = "  thin" if name in marked else ""
        click.echo(f"{name or '-':{width}}" + "".join(f"{count:>12,}" for count in counts) + mark)
