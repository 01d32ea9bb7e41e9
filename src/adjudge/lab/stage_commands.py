"""Which command runs a stage of a preset: `adjudge lab` where it fits in one process, else the recipes' trainers."""

from adjudge.lab.preset import Preset

RECIPES = "recipes"


def command_of(preset: Preset, kind: str, of: str, recipes: str = RECIPES) -> str:
    """`recipes`: the folder that `adjudge lab plan PRESET --recipes` wrote."""
    scale = preset.scale
    if scale is None:
        return f"adjudge lab {kind} {preset.name} --out out/{preset.name}"
    if kind == "annotate":
        arm = "gold" if of == "high" else f"gold-{of}"
        return f"adjudge judge {scale.data.source} --arms {recipes}/gold.toml --arm {arm} --store gold.db"
    if kind == "judge-sft":
        return (
            f"accelerate launch --config_file {recipes}/trl/judge-sft.accelerate.yaml "
            f"{recipes}/trl/judge_sft.py --config {recipes}/trl/judge-{of}.yaml"
        )
    if kind == "agreement":
        return f"python {recipes}/data.py agreement {of}"
    if kind == "audit":
        return f"python {recipes}/data.py audit {of}"
    what = "judge" if kind == "judge-grpo" else "policy"
    return f"python -m verl.trainer.main_ppo --config-path $PWD/{recipes}/verl --config-name {what}-{of}"
