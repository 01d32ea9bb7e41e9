"""What runs a large study's stages with TRL and verl, written out from its preset: arms, data script, configurations.

The keys are those of TRL 1.16, accelerate 1.15 and verl 0.9.1. Everything that a recipe computes lives in the package;
the written scripts only name it.
"""

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from adjudge.errors import ConfigError
from adjudge.files import replacing
from adjudge.lab.plan.stage_commands import on_trl
from adjudge.lab.preset import Preset
from adjudge.lab.scale import Scale

PER_NODE = 8  # GPUs
REWARD_WORKERS = 8  # verl's processes that judge
DEVICE_BATCH = 2  # rollouts that a GPU takes at once (TRL)


def write_recipes(preset: Preset, folder: Path) -> list[Path]:
    """Write all files into `folder`; the paths. Raises ConfigError for a preset that runs in one process, or whose
    batches do not divide among its GPUs."""
    if preset.scale is None:
        raise ConfigError(
            f"preset {preset.name} runs in one process and needs no recipes: adjudge lab run {preset.name}"
        )
    written = []
    for name, text in files(preset, preset.scale, folder.name):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())
        written.append(path)
    return written


def files(preset: Preset, scale: Scale, folder: str) -> Iterator[tuple[str, str]]:
    """(path within the folder, text) of each."""
    shared = {
        "preset": preset,
        "scale": scale,
        "folder": folder,
        "per_node": PER_NODE,
        "reward_workers": REWARD_WORKERS,
    }
    names = {
        "held_pairs": math.ceil(preset.world.test / 2),
        "golds": {name: gold_arm(preset, name) for name in preset.judges},
        "practising": [name for name, spec in preset.judges.items() if spec.rl],
        "guided": [name for name, spec in preset.judges.items() if spec.rubric],
        "steps": max(spec.rl.steps for spec in preset.policies.values()),
    }
    for name in ("README.md", "gold.toml", "judges.toml", "data.py", "verl/judge_reward.py"):
        yield name, _filled(name, shared | names)
    for name in ("trl/judge_sft.py", "trl/policy_grpo.py"):
        yield name, _filled(name, shared)
    for kind in ("judge-sft", "policy-grpo"):
        gpus = scale.sites[kind].gpus
        yield f"trl/{kind}.accelerate.yaml", _filled("trl/accelerate.yaml", shared | _fleet(gpus))
    yield from _judges(preset, scale, shared)
    yield from _policies(preset, scale, shared)


def _judges(preset: Preset, scale: Scale, shared: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, spec in preset.judges.items():
        start = f"out/judges/{spec.start}" if spec.start else scale.judges[name]
        told = shared | {"name": name, "kind": "judge", "start": start, "title": f"The judge {name}, from {start}"}
        if spec.sft:
            told |= _fleet(scale.sites["judge-sft"].gpus) | {"sft": spec.sft}
            _divides(spec.sft.batch, told["gpus"], f"judges.{name}: batch")
            yield f"trl/judge-{name}.yaml", _filled("trl/judge.yaml", told)
        if spec.rl:
            told |= _fleet(scale.sites["judge-grpo"].gpus) | {"rl": spec.rl, "longest": scale.longest.judge_prompt}
            told |= {"minibatch": scale.minibatch["judge-grpo"], "reward": "judge_reward.py"}
            told |= {"train": f"judge-{name}.parquet", "val": f"judge-{name}-held.parquet"}
            yield f"verl/judge-{name}.yaml", _filled("verl/grpo.yaml", told)


def _policies(preset: Preset, scale: Scale, shared: dict[str, Any]) -> Iterator[tuple[str, str]]:
    minibatch = scale.minibatch["policy-grpo"]
    for name, spec in preset.policies.items():
        start = scale.policies[name]
        told = shared | _fleet(scale.sites["policy-grpo"].gpus) | {"name": name, "kind": "policy", "spec": spec}
        told |= {"rl": spec.rl, "start": start, "minibatch": minibatch, "longest": scale.longest.policy_prompt}
        told |= {"train": "policy.parquet", "val": "policy-held.parquet", "reward": f"policy-{name}_reward.py"}
        told |= {"title": f"{start} against the judge {spec.judge}", "device_batch": DEVICE_BATCH}
        _divides(minibatch * spec.rl.group, DEVICE_BATCH * told["gpus"], f"policies.{name}: rollouts of an update")
        yield f"trl/policy-{name}.yaml", _filled("trl/policy.yaml", told)
        if not on_trl(preset, name):
            yield f"verl/policy-{name}.yaml", _filled("verl/grpo.yaml", told)
            yield f"verl/policy-{name}_reward.py", _filled("verl/policy_reward.py", told)


def gold_arm(preset: Preset, judge: str) -> str:
    """The arm of gold.toml whose judgments teach a judge."""
    if preset.scale and judge in preset.scale.pairwise:
        return "gold-pairs"
    mode = preset.judges[judge].mode
    return f"gold-{mode}" if mode in ("low", "medium") else "gold"


def _fleet(gpus: int) -> dict[str, int]:
    return {"gpus": gpus, "nodes": math.ceil(gpus / PER_NODE)}


def _divides(batch: int, among: int, what: str) -> None:
    if batch % among:
        raise ConfigError(f"{what} {batch} does not divide among {among} at a time; change it or the GPUs of its site")


def _filled(name: str, told: dict[str, Any]) -> str:
    return _templates().get_template(f"{name}.jinja").render(told)


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("adjudge.lab.recipes"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- no HTML: TOML, YAML and Python from a checked preset
    )
