"""Which command runs a stage of a preset: `adjudge lab` where it fits in one process, else the recipes' trainers."""

import math

from adjudge.lab.preset import Preset

RECIPES = "recipes"


def on_trl(preset: Preset, policy: str) -> bool:
    """Whether a policy is trained with TRL: its judge compares the rollouts of a prompt, and verl (0.9) hands over one
    at a time."""
    return preset.scale is not None and preset.policies[policy].judge in preset.scale.pairwise


def command_of(preset: Preset, kind: str, of: str, recipes: str = RECIPES) -> str:
    """`recipes`: the folder that `adjudge lab plan PRESET --recipes` wrote."""
    scale = preset.scale
    if scale is None:
        return f"adjudge lab {kind} {preset.name} --out out/{preset.name}"
    if kind == "annotate" and of == "rubric":
        return f"python {recipes}/data.py rubrics"
    if kind == "annotate":
        arm = "gold" if of == "high" else f"gold-{of}"
        labelled = scale.data.pairs + math.ceil(preset.world.test / 2)
        given = f"{scale.data.source} --limit {labelled}"
        return f"adjudge judge {given} --arms {recipes}/gold.toml --arm {arm} --store gold.db"
    if kind == "judge-sft":
        return _launched(recipes, kind, f"judge_sft.py --config {recipes}/trl/judge-{of}.yaml")
    if kind == "agreement":
        judged = f"adjudge judge {recipes}/data/test.jsonl --arms {recipes}/judges.toml --arm {of} --store judges.db"
        return f"{judged} && python {recipes}/data.py agreement {of}"
    if kind == "audit":
        return f"python {recipes}/data.py audit {of}"
    if kind == "policy-grpo" and on_trl(preset, of):
        return _launched(recipes, kind, f"policy_grpo.py --config {recipes}/trl/policy-{of}.yaml")
    what = "judge" if kind == "judge-grpo" else "policy"
    return f"python -m verl.trainer.main_ppo --config-path $PWD/{recipes}/verl --config-name {what}-{of}"


def _launched(recipes: str, kind: str, script: str) -> str:
    return f"accelerate launch --config_file {recipes}/trl/{kind}.accelerate.yaml {recipes}/trl/{script}"
