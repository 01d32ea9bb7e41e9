"""adjudge lab: judges trained by a gold judge, policies trained against them, and the audit of both."""

import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adjudge.commands import lab_export, lab_plan
from adjudge.errors import ConfigError, MissingExtra
from adjudge.lab import preset as presets
from adjudge.lab.preset import Preset

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = {
    "annotate": "Draw the world's items and have gold label them.",
    "base": "Train the model that judges and policies start from.",
    "policy-sft": "Teach the base to write responses, for policies to start from.",
    "judge-sft": "Teach judges what gold said.",
    "judge-grpo": "Let judges practise against gold's labels.",
    "agreement": "Measure how far each judge agrees with gold.",
    "policy-grpo": "Train policies against judges; gold judges a sample.",
    "audit": "Have gold audit each training, with the alarm.",
}
INSTALL = "pip install 'adjudge[lab]'"
NEEDED = ("torch", "transformers", "trl", "datasets", "accelerate", "tensorboard")

SEED = click.IntRange(0, presets.HIGHEST_SEED)
Seeds = tuple[int, ...]


@click.group("lab")
def command() -> None:
    """Train judges and policies, audited by gold (arXiv 2603.12246).

    A study is a preset, or a TOML file like one. Its stages run in order; what is done is skipped, what was stopped
    goes on from its last checkpoint.

    \b
    adjudge lab presets
    adjudge lab run smoke --out out/smoke
    """


@command.command("presets")
def list_presets() -> None:
    """The studies that come with this package."""
    for name in presets.names():
        click.echo(f"{name:8} {presets.load(name).about}")


command.add_command(lab_plan.command)
command.add_command(lab_export.command)


def _options(function: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
        click.option("--seed", "seeds", type=SEED, multiple=True, help="In place of the preset's; may be repeated."),
        click.option(
            "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The study's folder."
        ),
        click.argument("preset"),
    ):
        function = option(function)
    return function


_jobs = click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Stages at once, each in its own process."
)


@command.command("run")
@_options
@_jobs
def run_all(preset: str, out: Path, seeds: Seeds, as_json: bool, jobs: int) -> None:
    """Run every stage of PRESET that is not done.

    Gold is the program that comes with the controlled world. Where a TOML file of your own says so, it is an arm that
    rates:

    \b
    gold = { arms = "arms.toml", arm = "gold" }

    Its labels, its reasoning, its audits and its scores of held-out responses then count, and what it cost is in the
    figures. It is asked once for a response, however often a stage is begun again.
    """
    _run(preset, out, seeds, tuple(STAGES), as_json, jobs)


def _stage(kind: str, line: str) -> click.Command:
    @command.command(kind, help=f"{line} What it reads must be there: see `adjudge lab run`.")
    @_options
    @_jobs
    def alone(preset: str, out: Path, seeds: Seeds, as_json: bool, jobs: int) -> None:
        _run(preset, out, seeds, (kind,), as_json, jobs)

    return alone


for _kind, _line in STAGES.items():
    _stage(_kind, _line)


@command.command("report")
@_options
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The page to write.")
def write_report(preset: str, out: Path, html: Path, seeds: Seeds, as_json: bool) -> None:
    """Write what came of a study as one page that opens offline: over the seeds and stages that are done."""
    from adjudge.lab.report import page
    from adjudge.lab.report.findings import findings
    from adjudge.lab.report.readings import read_study
    from adjudge.report.page import Made

    study = read_study(presets.load(preset), out, seeds)
    page.write_lab_page(study, html, Made(shlex.join(["adjudge", *sys.argv[1:]]), datetime.now(UTC)))
    if as_json:
        click.echo(msgspec.json.encode(page.summary(study) | {"html": str(html)}))
        return
    found = findings(study)
    for finding in found:
        click.echo(f"({finding.letter}) {finding.status:15} {finding.words}")
    if missing := page.missing(study):
        click.echo(f"not done yet: {missing}")
    click.echo(f"{html}")


def _run(name: str, out: Path, seeds: Seeds, kinds: Sequence[str], as_json: bool, jobs: int) -> None:
    preset = presets.load(name)
    if preset.scale:
        raise ConfigError(f"{name} is too large to run here; see `adjudge lab plan {name} --recipes DIR`")
    if missing := [part for part in NEEDED if importlib.util.find_spec(part) is None]:
        raise MissingExtra(f"the lab ({', '.join(missing)})", INSTALL)
    try:
        from adjudge.lab.study import stages, together  # torch and its like take seconds to import
    except ImportError as error:
        raise MissingExtra(f"a part of the lab ({error})", INSTALL) from None

    seeds = seeds or preset.seeds
    if jobs > 1:
        found = together.run_together(preset, seeds, out, jobs, _told, kinds)
    else:
        found = {}
        for seed in seeds:
            with _telling(seed) as tell:
                found[seed] = stages.run(preset, seed, out, tell, kinds)
    if as_json:
        click.echo(msgspec.json.encode({"preset": preset.name, "seeds": {str(s): f for s, f in found.items()}}))
    else:
        for table in tables(preset, found):
            Console().print(table)


def _told(seed: int, stage: str) -> None:
    click.echo(f"seed {seed}: {stage}", err=True)


@contextmanager
def _telling(seed: int) -> "Iterator[Callable[[str, int, int], None]]":
    """One line on stderr as each stage begins; a bar below it where stderr is a terminal."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("  "), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    )
    task = bar.add_task("", total=None)
    at = ""

    def tell(stage: str, step: int, steps: int) -> None:
        nonlocal at
        if stage != at:
            at = stage
            console.print(f"seed {seed}: {stage}", highlight=False)
            bar.reset(task)
        bar.update(task, completed=step, total=steps or None)

    if sys.stderr.isatty():
        with bar:
            yield tell
    else:
        yield tell


def tables(preset: Preset, found: dict[int, dict[str, Any]]) -> list[Table]:
    """What came of a study, a row for each judge and policy and seed."""
    judges = Table(
        title="Agreement of judges with gold, items they were not trained on", title_justify="left", box=None
    )
    for column in ("seed", "judge", "alpha x 100", "tokens", "verdicts, %"):
        judges.add_column(column, justify="left" if column == "judge" else "right")
    policies = Table(title="Policies, gold's mean score on held-out briefs", title_justify="left", box=None)
    for column in ("seed", "policy", "judge", "start", "end"):
        policies.add_column(column, justify="left" if column in ("policy", "judge") else "right")
    audits = Table(title="Audits of the trainings by gold", title_justify="left", box=None)
    for column in ("seed", "policy", "gold calls", "of the judge's, %", "gold best at", "alarm at"):
        audits.add_column(column, justify="left" if column == "policy" else "right")
    for seed, figures in found.items():
        for name in preset.judges:
            if row := figures.get(f"agreement {name}"):
                alpha = _interval(row, "alpha", 100) if "alpha" in row else "-"
                judges.add_row(str(seed), name, alpha, f"{row['tokens']:.0f}", f"{100 * row['verdicts']:.1f}")
        for name, spec in preset.policies.items():
            if row := figures.get(f"policy-grpo {name}"):
                ends = [_interval(row, f"{at}_gold", 1) for at in ("start", "end")]
                policies.add_row(str(seed), name, spec.judge, *ends)
            if row := figures.get(f"audit {name}"):
                share = f"{100 * row['calls_share']:.1f}"
                steps = ["-" if row[key] is None else f"step {row[key]}" for key in ("best_step", "raised_at")]
                audits.add_row(str(seed), name, f"{row['gold_calls']:,}", share, *steps)
    return [table for table in (judges, policies, audits, gold_costs(found)) if table.row_count]


def gold_costs(found: dict[int, dict[str, Any]]) -> Table:
    """What gold was asked, and billed, in each stage: a row for each where gold is an arm."""
    table = Table(title="What gold cost", title_justify="left", box=None)
    for column in ("seed", "stage", "judged", "no verdict", "requests", "tokens in", "tokens out", "US dollars"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for seed, figures in found.items():
        for stage, row in figures.items():
            if "gold_bought" in row:
                parts = ("bought", "no_verdict", "requests", "prompt_tokens", "output_tokens")
                usd = f"{row['gold_usd']:.4f}" if "gold_usd" in row else "no price"
                table.add_row(str(seed), stage, *(f"{row[f'gold_{part}']:,}" for part in parts), usd)
    return table


def _interval(row: dict[str, Any], name: str, scale: float) -> str:
    value, low, high = (scale * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.{1 if scale > 1 else 2}f} [{low:.{1 if scale > 1 else 2}f}, {high:.{1 if scale > 1 else 2}f}]"
