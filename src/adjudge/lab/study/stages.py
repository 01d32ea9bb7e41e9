"""A whole study: every stage of a preset in order, for each seed, skipping what is done.

    annotate -> base -> policy-sft; judge-sft, judge-grpo -> agreement -> policy-grpo -> audit

Each stage has a folder and, once it is whole, a `done.json` in it with its figures and the key of the settings that
made it. A stage whose settings have changed since is refused, never mixed with what others made of the old ones; so is
one that was begun with others (`begun`) and not finished.
"""

import asyncio
import functools
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from adjudge import metrics
from adjudge.errors import ConfigError, DataError
from adjudge.files import replacing
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.models.training import Tell, quiet
from adjudge.lab.preset import Preset
from adjudge.lab.scoring import Judge
from adjudge.lab.study import audit_stage, gold, judges, policies
from adjudge.lab.study.disk import writing
from adjudge.lab.study.done import DONE, Done, Figures, read_done, write_done
from adjudge.lab.study.labels import BRIEFS, FILES, Label, annotate, part_seed, read_briefs
from adjudge.lab.world.program_gold import GOLDS

BEGUN = "begun"  # the key that a stage was begun with
KINDS = ("annotate", "base", "policy-sft", "judge-sft", "judge-grpo", "agreement", "policy-grpo", "audit")


class Stage(NamedTuple):
    """`kind` is one of KINDS, `of` the judge or policy; `folder` under the seed's; `key` changes with what makes it;
    `needs`: the stages that it reads, by name."""

    kind: str
    of: str
    folder: str
    key: str
    run: Callable[[Path, Tell], Figures]
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.kind} {self.of}".strip()


def stages(preset: Preset, seed: int, root: Path) -> list[Stage]:
    """All stages of one seed, in an order that their inputs allow."""
    key = preset.key(seed)
    found = [
        Stage("annotate", "", "labels", key, functools.partial(_annotated, preset, seed)),
        Stage("base", "", "base", key, lambda to, tell: judges.make_base(preset.model, to, seed, tell)),
    ]
    if preset.model.policy:
        made = functools.partial(_started, preset, seed, root)
        found.append(Stage("policy-sft", "", "start", key, made, ("base",)))
    judged = {name: f"{'judge-sft' if spec.sft else 'judge-grpo'} {name}" for name, spec in preset.judges.items()}
    for name in preset.ordered_judges():
        spec, key = preset.judges[name], preset.judge_key(name, seed)
        made = functools.partial(_judged, preset, name, seed, root)
        needs: tuple[str, ...] = ("annotate", judged[spec.start] if spec.start else "base")
        found.append(Stage(judged[name].split()[0], name, f"judges/{name}", key, made, needs))
        made = functools.partial(_agreed, preset, name, root)
        found.append(Stage("agreement", name, f"agreement/{name}", key, made, ("annotate", judged[name])))
    for name in preset.policies:
        key, judge = preset.policy_key(name, seed), judged.get(preset.policies[name].judge)
        made = functools.partial(_trained, preset, name, seed, root)
        needs = ("annotate", "policy-sft" if preset.model.policy else "base", *([judge] if judge else []))
        found.append(Stage("policy-grpo", name, f"policies/{name}", key, made, needs))
        made = functools.partial(_audited, preset, name, seed, root)
        found.append(Stage("audit", name, f"audits/{name}", key, made, (f"policy-grpo {name}",)))
    return found


def run(
    preset: Preset, seed: int, out: Path, tell: Callable[[str, int, int], None], kinds: Sequence[str] = KINDS
) -> dict[str, Figures]:
    """Run what is not done of a seed, in `out`/seed-N. Returns the figures of every stage, by its name.

    `kinds`: of the stages to run; what they read must be there. Raises ConfigError where a folder holds what other
    settings made, or what a stage reads is missing; DataError where a file cannot be used, or nothing can be written.
    """
    root = out / f"seed-{seed}"
    found: dict[str, Figures] = {}
    for stage in stages(preset, seed, root):
        figures = figures_of(stage, root)
        if figures is None and stage.kind in kinds:
            figures = run_stage(preset, stage, root, functools.partial(tell, stage.name))
        if figures is not None:
            found[stage.name] = figures
    return found


def figures_of(stage: Stage, root: Path) -> Figures | None:
    """What a stage that is done says of itself, None where it is not. Raises ConfigError and DataError as `run`."""
    folder = root / stage.folder
    with writing(folder):
        done = read_done(folder)
    if done is not None and done.key != stage.key:
        raise ConfigError(f"{folder} was made with other settings; delete it, or give another --out")
    return None if done is None else done.figures | {"seconds": done.seconds}


def run_stage(preset: Preset, stage: Stage, root: Path, tell: Tell) -> Figures:
    """Run one stage, whose inputs are there. Raises ConfigError and DataError as `run`."""
    quiet()
    if preset.threads:
        torch.set_num_threads(preset.threads)
    folder = root / stage.folder
    with writing(folder):
        done = _run(stage, folder, tell)
    return done.figures | {"seconds": done.seconds}


def _run(stage: Stage, folder: Path, tell: Tell) -> Done:
    folder.mkdir(parents=True, exist_ok=True)
    begun = folder / BEGUN
    if begun.exists() and begun.read_text() != stage.key:
        raise ConfigError(f"{folder} was begun with other settings; delete it, or give another --out")
    with replacing(begun) as file:
        file.write(stage.key.encode())
    began = time.monotonic()
    tell(0, 0)
    figures = stage.run(folder, tell)
    done = Done(stage.key, time.monotonic() - began, figures)
    write_done(done, folder)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return done


def _annotated(preset: Preset, seed: int, folder: Path, tell: Tell) -> Figures:
    world = preset.world
    with gold.golds(preset, folder, lambda bought: tell(bought, world.train + world.test)) as found:
        figures = asyncio.run(annotate(world, folder, seed, found))
    return figures | gold.bill(preset, folder)


def _judged(preset: Preset, name: str, seed: int, root: Path, folder: Path, tell: Tell) -> Figures:
    spec = preset.judges[name]
    labels = _labels(root, 0)
    start = _there(root / "judges" / spec.start if spec.start else root / "base")
    return (judges.teach if spec.sft else judges.practise)(spec, labels, start, folder, seed, tell)


def _agreed(preset: Preset, name: str, root: Path, _folder: Path, _tell: Tell) -> Figures:
    labels = _labels(root, 1)
    return asyncio.run(judges.agreement(_judge(preset, name, root), preset.judges[name], labels))


def _started(preset: Preset, seed: int, root: Path, folder: Path, tell: Tell) -> Figures:
    return policies.make_start(preset.model, _there(root / "base"), folder, seed, tell)


def _trained(preset: Preset, name: str, seed: int, root: Path, folder: Path, tell: Tell) -> Figures:
    spec = preset.policies[name]
    start = _there(root / ("start" if preset.model.policy else "base"))
    briefs = read_briefs(_there(root / "labels") / BRIEFS[0])
    held = read_briefs(root / "labels" / BRIEFS[1])
    planned, stop = audit_stage.plan(preset, name, seed), preset.audit.stop
    with gold.opened(preset, folder) as golden:
        by_name: dict[str, Judge] = {**GOLDS, "gold": golden}
        judge = by_name.get(spec.judge) or _judge(preset, spec.judge, root)
        figures: Figures = policies.train_policy(
            spec, judge, golden, briefs, planned, start, folder, seed=part_seed(seed, 20), stop=stop, tell=tell
        )
        for at, model in (("start", start), ("end", folder)):
            texts = policies.write_responses(model, held, part_seed(seed, 21), spec.rl.max_tokens)
            figures |= {f"{at}_{k}": v for k, v in _mean(policies.gold_scores(golden, held, texts)).items()}
    return figures | gold.bill(preset, folder)


def _audited(preset: Preset, name: str, seed: int, root: Path, folder: Path, _tell: Tell) -> Figures:
    return audit_stage.audit_policy(preset, name, seed, root / "policies" / name, folder)


def _mean(scores: list[float]) -> Figures:
    estimate = metrics.mean_interval(np.array(scores), 0.95)
    return {"gold": estimate.value, "gold_low": estimate.low, "gold_high": estimate.high}


def _labels(root: Path, part: int) -> list[Label]:
    """Labels of gold. Raises DataError where some of them are gone."""
    folder, name = _there(root / "labels"), FILES[part].removesuffix(".jsonl")
    found, done = judges.labelled(folder, part), read_done(folder)
    if done is not None and done.figures.get(name) != len(found):
        raise DataError(
            f"holds {len(found):,} labels, and gold gave {done.figures.get(name, 0):,}",
            path=folder / FILES[part],
            remedy=f"to have gold label anew delete {folder / DONE}",
        )
    return found


def _judge(preset: Preset, name: str, root: Path) -> TorchJudge:
    return TorchJudge(
        _there(root / "judges" / name), preset.judges[name].mode, name=name, max_tokens=preset.judge_tokens
    )


def _there(folder: Path) -> Path:
    if not folder.exists():
        raise ConfigError(f"{folder} is missing; run the stages before this one: adjudge lab run PRESET --out DIR")
    return folder
