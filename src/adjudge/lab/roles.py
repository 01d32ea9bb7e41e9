"""Which of a preset's judges and policies plays which part in the paper's study, by how it is made, not by its name."""

from typing import Literal

from adjudge.lab.preset import JudgeSpec, Preset

Role = Literal["direct", "rubric", "low", "medium", "distilled", "distilled-rl", "rl-only", "other"]

SAID: dict[Role, str] = {
    "direct": "non-reasoning",
    "rubric": "non-reasoning with a rubric",
    "low": "distilled, low effort",
    "medium": "distilled, medium effort",
    "distilled": "distilled, high effort",
    "distilled-rl": "distilled and RL, high effort",
    "rl-only": "RL only",
    "other": "of another kind",
}


def role(preset: Preset, name: str) -> Role:
    """What kind of judge this is."""
    spec = preset.judges[name]
    if spec.mode == "direct":
        return "other" if spec.rl else "rubric" if spec.rubric else "direct"
    if spec.rubric:
        return "other"
    if spec.sft:
        return {"low": "low", "medium": "medium", "high": "distilled"}[spec.mode]  # type: ignore[return-value]  # Roles
    taught = any(s.sft and s.mode != "direct" for s in _starts(preset, spec))
    return "rl-only" if not taught else "distilled-rl" if spec.mode == "high" else "other"


def _starts(preset: Preset, spec: JudgeSpec) -> list[JudgeSpec]:
    if not spec.start:
        return []
    start = preset.judges[spec.start]
    return [start, *_starts(preset, start)]


def judge_of(preset: Preset, wanted: Role) -> str | None:
    """The first judge of a kind."""
    return next((name for name in preset.judges if role(preset, name) == wanted), None)


def policy_of(preset: Preset, *wanted: Role) -> str | None:
    """The first policy that is trained, pointwise, against a judge of the first kind that has one."""
    for kind in wanted:
        for name, spec in preset.policies.items():
            if spec.judge != "gold" and not spec.pairwise and role(preset, spec.judge) == kind:
                return name
    return None
