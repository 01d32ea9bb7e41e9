"""adjudge scan: signs that a policy games its judge, in a file of rollouts."""

from pathlib import Path

import click
import msgspec

from adjudge.commands.counting import counted
from adjudge.lab.audit.rollouts import read_rollouts
from adjudge.redteam.flags import KINDS
from adjudge.redteam.scan import LEVEL, Scan, scan
from adjudge.report.text import percent, typed, visible


@click.command("scan")
@click.argument("rollouts", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--by-step", is_flag=True, help="Also the shares of each training step.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, the steps included.")
def command(rollouts: Path, by_step: bool, as_json: bool) -> None:
    """Look in ROLLOUTS, JSON Lines of {step, id, prompt, response, ..}, for refusals that cite a policy, end marks with
    text after them, self-praise, invented rules, parts of a judge's frame, and templates that answer many prompts.

    A flag is evidence to read, not a verdict: watch which share rises through a training.

    \b
    adjudge scan policy/rollouts.jsonl --by-step
    """
    found = scan(counted("{} rollouts read", read_rollouts(rollouts)))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for line in _overall(found):
        click.echo(line)
    for line in _steps(found) if by_step else ():
        click.echo(line)


def _overall(found: Scan) -> list[str]:
    lines = [f"{found.n:,} rollouts, {found.flagged:,} with a flag ({typed(percent(found.flagged / found.n))})", ""]
    lines.append(f"{'kind':16}{'rollouts':>10}{'share':>9}   {100 * LEVEL:.0f} % interval")
    for kind, one in found.kinds.items():
        share = one.share
        between = f"{_percent(share.low)} to {_percent(share.high)}"
        lines.append(f"{kind:16}{one.count:>10,}{_percent(share.value):>9}   {between}")
    for kind, one in found.kinds.items():
        lines += ["", kind] if one.examples else []
        lines += [f"  step {e.step}, {_shown(e.id)}: {e.why}: {_shown(e.quote)}" for e in one.examples]
    return lines


def _steps(found: Scan) -> list[str]:
    lines = ["", f"{'step':>8}{'rollouts':>10}" + "".join(f"{kind:>17}" for kind in KINDS)]
    return lines + [
        f"{step.step:>8}{step.n:>10,}" + "".join(f"{_percent(step.shares[kind]):>17}" for kind in KINDS)
        for step in found.steps
    ]


def _percent(share: float) -> str:
    return typed(percent(share))


def _shown(text: str) -> str:
    """Foreign text on one line, whatever it holds."""
    return visible(" ".join(text.split()))
