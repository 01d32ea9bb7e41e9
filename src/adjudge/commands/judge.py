"""adjudge judge: pairs and arms in, judgments with their cost in the store."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from adjudge import config
from adjudge.commands.embedding import with_embedder
from adjudge.commands.judging import Counted, closing_lines, judge_pairs
from adjudge.commands.remedies import remedies
from adjudge.config import Arm, Settings
from adjudge.errors import ConfigError, DataError
from adjudge.judging.progress import Summary
from adjudge.judging.protocol import check_prompts
from adjudge.judging.run import reachable
from adjudge.pairs.read import Checked, check, read
from adjudge.store.store import Store
from adjudge.types import Pair

if TYPE_CHECKING:
    from adjudge.commands.judge_routes import Route, Started

Orders = Literal["ab", "ba", "both"]


@click.command("judge")
@click.argument("pairs")
@click.option("--arms", "arms_file", type=click.Path(path_type=Path), required=True, help="The arms.toml.")
@click.option("--arm", "names", multiple=True, help="Arm to judge with, or route:DIR; repeat, or A,B; left out: all.")
@click.option("--store", "store_url", default="judgments.db", show_default=True, help="SQLite file or database URL.")
@click.option("--orders", type=click.Choice(["ab", "ba", "both"]), help="Instead of what each arm says.")
@click.option("--concurrency", type=click.IntRange(1, 4096), default=64, show_default=True, help="Judgments under way.")
@click.option(
    "--cap-usd", type=click.FloatRange(0, min_open=True), help="Buy no more than this many US dollars' worth."
)
@click.option("--limit", type=click.IntRange(1), help="Judge only the first N pairs.")
@click.option("--format", "form", help="Format of the pairs; left out: recognised by content.")
@click.option("--as-pairs", is_flag=True, help="Read best-of-n items as one pair per right and wrong response.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the hash that draws which response is A.")
@click.option("--budget", metavar="C", help="Of route:DIR: mean cost of a judgment; left out: that of the fit.")
@click.option(
    "--unpaced", is_flag=True, help="Of route:DIR: decide by each pair's id alone, whatever was spent so far."
)
@with_embedder
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def command(
    pairs: str,
    arms_file: Path,
    names: tuple[str, ...],
    store_url: str,
    orders: Orders | None,
    concurrency: int,
    cap_usd: float | None,
    limit: int | None,
    form: str | None,
    as_pairs: bool,
    seed: int,
    as_json: bool,
    budget: str | None,
    unpaced: bool,
    **embedding: Any,
) -> int:
    """Judge PAIRS (a file, or hub:org/name) with one or more arms and keep every judgment with its cost.

    What the store holds already is not bought again. Ctrl-C finishes what is in flight; the same command goes on.
    A router of `adjudge route fit` is an arm too: it buys, pair by pair, what its budget lets it.

    \b
    adjudge judge pairs.jsonl --arms arms.toml --arm all --store judgments.db
    adjudge judge pairs.jsonl --arms arms.toml --arm reasoning --cap-usd 5 --limit 100
    adjudge judge pairs.jsonl --arms arms.toml --arm route:router --budget 2
    """
    settings, arms, routes = _chosen(config.load(arms_file), names, orders, budget, unpaced, embedding)
    used = reachable(arms, settings)
    for server in {arm.server for arm in used}:
        settings.api_key(server)
    found = check(pairs, format=form, as_pairs=as_pairs)
    _check_fit(pairs, found, arms, settings)

    def stream() -> Iterator[Pair]:
        return islice(read(pairs, format=form, seed=seed, as_pairs=as_pairs), limit)

    store = Store.open(store_url)
    try:
        count = min(found.count, limit or found.count)
        live = [route.start(settings, store, stream, count, paced=not unpaced) for route in routes]
        summary = judge_pairs(
            Counted(stream(), count),
            arms,
            settings,
            store,
            concurrency=concurrency,
            cap_usd=cap_usd,
            judges={one.route.arm.name: one.live.begin for one in live},
        )
    finally:
        store.close()
    if as_json:
        routed = {"routes": [one.told() for one in live]} if live else {}
        click.echo(msgspec.json.encode(_json(summary, found, count, settings, store_url) | routed))
    else:
        _print(summary, found, arms, settings, store_url, live)
    return 0 if summary.complete else 1


def _chosen(
    settings: Settings,
    names: tuple[str, ...],
    orders: Orders | None,
    budget: str | None,
    unpaced: bool,
    embedding: dict[str, Any],
) -> "tuple[Settings, list[Arm], list[Route]]":
    """The settings with routers among their arms, the arms that are to judge, and those of them that are routers."""
    words = [name.strip() for names_ in names or ("all",) for name in names_.split(",") if name.strip()]
    routers = [word for word in words if word.startswith("route:")]
    if not routers and (budget is not None or unpaced or any(embedding.values())):
        raise ConfigError("--budget, --unpaced and --embed-... are for routers; name one: --arm route:DIR")
    arms = settings.choose(word for word in words if word not in routers)
    if orders:
        settings, arms = _in_orders(settings, arms, orders)
    check_prompts(settings)
    if not routers:
        return settings, arms, []
    from adjudge.commands.judge_routes import open_routes  # routing takes a second to import

    routes = open_routes(routers, settings, budget, **embedding)
    settings = msgspec.structs.replace(settings, arms=settings.arms | {route.arm.name: route.arm for route in routes})
    return settings, [*arms, *(route.arm for route in routes)], routes


def _check_fit(source: str, found: Checked, arms: list[Arm], settings: Settings) -> None:
    """Raises DataError where an arm can judge none of the pairs; where it can judge some, the others fail one by one.

    A replay needs no texts and takes what was recorded.
    """
    asking = [arm for arm in arms if settings.servers[arm.server].kind != "replay"]
    if asking and found.without_texts == found.count:
        raise DataError(
            f"holds no texts to judge, in none of its {found.count:,} pairs",
            path=source,
            remedy='give prompts and responses, or replay what was recorded (kind = "replay")',
        )
    choices = {arm.name: [settings.arms[name] for name in arm.choices or (arm.name,)] for arm in asking}
    pairwise = [name for name, those in choices.items() if any(arm.protocol != "pointwise" for arm in those)]
    if pairwise and found.best_of_n == found.count:
        one = f"arm {pairwise[0]} compares" if len(pairwise) == 1 else f"arms {', '.join(pairwise)} compare"
        raise DataError(
            f"holds best-of-n items alone, and {one} two responses",
            path=source,
            remedy='name a pointwise arm (protocol = "pointwise"), or read the items as pairs: --as-pairs',
        )


def _in_orders(settings: Settings, arms: list[Arm], orders: Orders) -> tuple[Settings, list[Arm]]:
    everywhere = {name: msgspec.structs.replace(arm, orders=orders) for name, arm in settings.arms.items()}
    return msgspec.structs.replace(settings, arms=everywhere), [everywhere[arm.name] for arm in arms]


def _json(summary: Summary, found: Checked, count: int, settings: Settings, store: str) -> dict[str, object]:
    return {
        "evaluator": settings.evaluator,
        "store": _without_password(store),
        "pairs": count,
        "without_gold": found.without_gold,
        "left_out": found.left_out,
        "complete": summary.complete,
        "how_to_go_on": summary.how_to_go_on,
        "remedies": remedies(summary, settings),
        **msgspec.to_builtins(summary),
        "spend": summary.spend._asdict(),
    }


def _print(
    summary: Summary, found: Checked, arms: list[Arm], settings: Settings, store: str, live: "list[Started]"
) -> None:
    for reason, count in found.left_out.items():
        click.echo(f"{count:,} rows left out: {reason}.")
    if found.without_gold:
        click.echo(f"Pairs without a gold label, judged but not scored: {found.without_gold:,} of {found.count:,}.")
    for line in closing_lines(summary, settings):
        click.echo(line)
    for one in live:
        click.echo(one.closing_line())
    names = ",".join(arm.name for arm in arms)
    if summary.complete and len(arms) > 1:
        click.echo(f"Next: adjudge compare {_without_password(store)} --arms {names}")


def _without_password(url: str) -> str:
    if "://" not in url:
        return url
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)
