"""adjudge serve: arms and, where there is one, a router behind one address."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from adjudge import config
from adjudge.commands.embedding import with_embedder
from adjudge.commands.judging import new_loop
from adjudge.errors import ConfigError, MissingExtra
from adjudge.judging.collector import rare_collections
from adjudge.judging.protocol import check_prompts

if TYPE_CHECKING:
    from adjudge.gateway.server import Running
    from adjudge.gateway.tracing import Tracing


class _Share(click.ParamType[float]):
    """A share as a fraction or in percent."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            found = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            found = -1.0
        if not 0 <= found <= 1:
            self.fail(f"{value!r} is no share; give one like 1% or 0.01", param, ctx)
        return found


@click.command("serve")
@click.option("--arms", "arms_file", type=click.Path(path_type=Path), required=True, help="The arms.toml.")
@click.option("--router", type=click.Path(path_type=Path), help="A router of `adjudge route fit`, to be asked as auto.")
@click.option(
    "--store",
    default="gateway.db",
    show_default=True,
    help="Judgments, ledger and keys: an SQLite file, or postgresql://... for several gateways.",
)
@click.option("--budget", metavar="C", help="Of the router: mean cost of a judgment; left out: that of the fit.")
@click.option("--cap-usd", type=click.FloatRange(0, min_open=True), help="Never spend more US dollars in all.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Other than this machine alone needs keys.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free.")
@click.option("--running", type=click.IntRange(1, 16384), default=256, show_default=True, help="Judgments under way.")
@click.option(
    "--waiting", type=click.IntRange(0, 65536), default=1024, show_default=True, help="In line; beyond them: 503."
)
@click.option("--deadline-s", type=click.FloatRange(0.1, 3600), default=120.0, show_default=True, help="Of each.")
@click.option(
    "--stop-s", type=click.FloatRange(0, 3600), default=30.0, show_default=True, help="To end what is under way."
)
@click.option("--reward-arm", metavar="ARM", help="What scores where a request for rewards names no arm.")
@click.option("--fallback", default="", metavar="A,B", help="Arms that chat completions fall back to, in turn.")
@click.option(
    "--audit",
    type=_Share(),
    default="0",
    metavar="1%",
    help="Share of the routed judgments that the dearest arm judges too, when there is room: agreement without labels.",
)
@click.option("--otel", is_flag=True, help="OpenTelemetry spans to what OTEL_EXPORTER_OTLP_ENDPOINT names.")
@with_embedder
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout once it serves.")
def command(
    arms_file: Path,
    router: Path | None,
    store: str,
    budget: str | None,
    as_json: bool,
    fallback: str,
    otel: bool,
    embed_url: str | None,
    embed_model: str | None,
    embed_key_env: str,
    **serving: Any,
) -> int:
    """Serve judgments, chat completions and rewards over HTTP, with budgets that hold, until Ctrl-C or SIGTERM.

    One line of JSON per request goes to stderr, never a text or a key. What there is to ask: /openapi.json.

    \b
    adjudge serve --arms arms.toml
    adjudge serve --arms arms.toml --router router --budget 2 --cap-usd 50
    """
    from adjudge.gateway.server import Serving, serve
    from adjudge.gateway.telemetry import collector_named

    settings = config.load(arms_file)
    check_prompts(settings)
    told = Serving(store=store, fallback=tuple(name for name in fallback.split(",") if name), **serving)
    routing = None
    if router is not None:
        from adjudge.commands.judge_routes import PREFIX, open_routes
        from adjudge.gateway.routed import Routing

        (route,) = open_routes([f"{PREFIX}{router}"], settings, budget, embed_url, embed_model, embed_key_env)
        routing = Routing(*route)
    elif budget is not None or embed_url or embed_model:
        raise ConfigError("--budget and --embed-... are for routers; name one with --router")

    def started(running: "Running") -> None:
        address, gateway, _ = running
        models = [f"adjudge/{name}" for name, arm in settings.arms.items() if arm.protocol != "rubric"]
        if as_json:
            found = {"address": address, "keys": gateway.keyed, "models": models, "remarks": gateway.remarks}
            click.echo(msgspec.json.encode(found))
            return
        click.echo(f"Serving on {address}: {', '.join((['adjudge/auto'] if routing else []) + models)}", err=True)
        for remark in gateway.remarks:
            click.echo(f"Note: {remark}.", err=True)

    with rare_collections(), asyncio.Runner(loop_factory=new_loop) as runner:
        tracing = _tracing() if otel or collector_named() else None
        try:
            runner.run(serve(settings, told, routing, started=started, tracing=tracing))
        finally:
            if tracing is not None:
                tracing.close()
    return 0


def _tracing() -> "Tracing":
    try:
        from adjudge.gateway.tracing import exporting

        return exporting()
    except ModuleNotFoundError:
        raise MissingExtra("OpenTelemetry", "pip install 'adjudge[otel]'") from None
