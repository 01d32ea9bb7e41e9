"""Several stages of a study at once, each in a process of its own: those that do not need each other, over all seeds.

What a stage makes does not depend on what runs beside it: every one has its own seed and threads, and reads only what
it needs (`Stage.needs`). So a study that is run so ends as one that was run in turn.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from adjudge.errors import AdjudgeError, ConfigError
from adjudge.lab.preset import Preset
from adjudge.lab.study.done import Figures
from adjudge.lab.study.stages import KINDS, Stage, figures_of, run_stage, stages

Tell = Callable[[int, str], None]


class _Ended(NamedTuple):
    """`failed`: the message of the error that ended it."""

    figures: Figures
    failed: str = ""


def run_together(
    preset: Preset, seeds: Sequence[int], out: Path, jobs: int, tell: Tell, kinds: Sequence[str] = KINDS
) -> dict[int, dict[str, Figures]]:
    """As `stages.run` for every seed, up to `jobs` stages at once. `tell` is told seed and stage as each begins.

    A stage that fails lets those under way end, then its error is raised as ConfigError; nothing is lost.
    """
    planned = {(seed, s.name): s for seed in seeds for s in stages(preset, seed, _root(out, seed))}
    found = {at: figures for at, s in planned.items() if (figures := figures_of(s, _root(out, at[0]))) is not None}
    waiting = [at for at, s in planned.items() if at not in found and s.kind in kinds]
    under_way: dict[Future[_Ended], tuple[int, str]] = {}
    failed = ""
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while waiting or under_way:
            for at in [] if failed else _ready(waiting, planned, found, kinds)[: jobs - len(under_way)]:
                waiting.remove(at)
                tell(*at)
                under_way[pool.submit(_run, preset, at, out)] = at
            if not under_way:
                break
            ended, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in ended:
                at, end = under_way.pop(future), future.result()
                failed = failed or end.failed
                if not end.failed:
                    found[at] = end.figures
    if failed:
        raise ConfigError(failed)
    return {
        seed: {name: found[seed, name] for s, name in planned if s == seed and (s, name) in found} for seed in seeds
    }


def _ready(
    waiting: Sequence[tuple[int, str]],
    planned: dict[tuple[int, str], Stage],
    found: dict[tuple[int, str], Figures],
    kinds: Sequence[str],
) -> list[tuple[int, str]]:
    """What can begin: all that it needs is done, or is not to be run (its absence is then for the stage to say)."""
    return [
        (seed, name)
        for seed, name in waiting
        if all((seed, n) in found or planned[seed, n].kind not in kinds for n in planned[seed, name].needs)
    ]


def _run(preset: Preset, at: tuple[int, str], out: Path) -> _Ended:
    seed, name = at
    root = _root(out, seed)
    try:
        stage = next(s for s in stages(preset, seed, root) if s.name == name)
        return _Ended(run_stage(preset, stage, root, _untold))
    except AdjudgeError as error:  # its arguments may not survive the way between processes; its words do
        return _Ended({}, f"seed {seed}, {name}: {error}")


def _untold(_step: int, _steps: int) -> None:
    pass


def _root(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}"
