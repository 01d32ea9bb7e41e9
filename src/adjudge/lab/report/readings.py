"""A study's folder as values: what each judge agreed to, how each policy's training went, and what is not there yet.

Read without torch. Nothing is measured here.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np

from adjudge.errors import ConfigError
from adjudge.lab.audit.alarm import Look
from adjudge.lab.audit.auditor import AUDITED, Audited
from adjudge.lab.audit.rollouts import ROLLOUTS, Rollout, read_rollouts
from adjudge.lab.audit.step import look
from adjudge.lab.preset import Preset
from adjudge.lab.study.audit_stage import auditor, plan
from adjudge.lab.study.done import Figures, read_done

T = TypeVar("T")


class Training(NamedTuple):
    """An audited training of one policy: `audits` and `looks` of the same steps, `judged` the rollouts that gold
    judged, in order; `taken`: the figures of stage `audit`."""

    audits: tuple[Audited, ...]
    looks: tuple[Look, ...]
    judged: tuple[Rollout, ...]
    taken: Figures


class Readings(NamedTuple):
    """What is done, by judge or policy and then by seed. `held`: figures of stage `policy-grpo`, gold's mean on
    held-out briefs before and after. `missing`: stages that are not done, each with its seeds."""

    preset: Preset
    seeds: tuple[int, ...]
    agreement: Mapping[str, Mapping[int, Figures]]
    held: Mapping[str, Mapping[int, Figures]]
    trainings: Mapping[str, Mapping[int, Training]]
    missing: Mapping[str, tuple[int, ...]]


def read_study(preset: Preset, out: Path, seeds: Sequence[int] = ()) -> Readings:
    """What is done of a study in `out`. `seeds`: the preset's, without any.

    Raises ConfigError where there is no study, or other settings made it; DataError where a file cannot be used.
    """
    seeds = tuple(seeds or preset.seeds)
    if not any((out / f"seed-{seed}").is_dir() for seed in seeds):
        told = ", ".join(map(str, seeds))
        raise ConfigError(f"{out} holds no study of {preset.name} with seed {told}; run: adjudge lab run {preset.name}")
    agreement, held = dict[str, dict[int, Figures]](), dict[str, dict[int, Figures]]()
    trainings = dict[str, dict[int, Training]]()
    missing = defaultdict[str, list[int]](list)
    for seed in seeds:
        root = out / f"seed-{seed}"
        for name in preset.judges:
            figures = _figures(root / "agreement" / name, preset.judge_key(name, seed))
            _keep(agreement, f"agreement {name}", name, seed, figures, missing)
        for name in preset.policies:
            key = preset.policy_key(name, seed)
            _keep(held, f"policy-grpo {name}", name, seed, _figures(root / "policies" / name, key), missing)
            taken = _figures(root / "audits" / name, key)
            training = None if taken is None else _training(preset, name, seed, root, taken)
            _keep(trainings, f"audit {name}", name, seed, training, missing)
    return Readings(preset, seeds, agreement, held, trainings, {k: tuple(v) for k, v in missing.items()})


def _keep(
    into: dict[str, dict[int, T]], stage: str, name: str, seed: int, found: T | None, missing: Mapping[str, list[int]]
) -> None:
    if found is None:
        missing[stage].append(seed)
    else:
        into.setdefault(name, {})[seed] = found


def _figures(folder: Path, key: str) -> Figures | None:
    done = read_done(folder)
    if done is not None and done.key != key:
        raise ConfigError(f"{folder} was made with other settings; give the preset that made it, or another --out")
    return done.figures if done else None


def _training(preset: Preset, name: str, seed: int, root: Path, taken: Figures) -> Training | None:
    """None for a training of which no step was audited. Raises ConfigError where the audits are of another one."""
    folder, planned = root / "audits" / name, plan(preset, name, seed)
    audits = auditor(preset, name, seed, folder).audits
    if not audits:
        return None
    later = {}  # what gold judged in the audit, not in the training
    if (folder / AUDITED).exists() and (folder / AUDITED).stat().st_size:
        later = {(r.step, r.id): r.gold for r in read_rollouts(folder / AUDITED)}
    means = {a.figures.step: a.figures.gold.value if a.figures.gold else None for a in audits}
    looks, judged = [], list[Rollout]()
    for step, of_step in itertools.groupby(read_rollouts(root / "policies" / name / ROLLOUTS), key=lambda r: r.step):
        if step in means:
            whole = [msgspec.structs.replace(r, gold=later.get((r.step, r.id), r.gold)) for r in of_step]
            golden = [r for r in whole if r.gold is not None]
            if means.pop(step) != (float(np.mean([r.gold for r in golden])) if golden else None):
                means[step] = None
                break
            looks.append(look(whole, planned))
            judged += golden
    if means:
        raise ConfigError(f"{folder} audits another training than is kept now; delete it, and run: adjudge lab audit")
    return Training(audits, tuple(looks), tuple(judged), taken)
