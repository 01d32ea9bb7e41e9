"""Which of a preset's judges and policies plays which part in the paper's study, by how it is made, not by its name."""

from typing import Literal

from adjudge.lab.preset import JudgeSpec, Preset

Role = Literal["direct", "rubric", "low", "medium", "high", "distilled", "distilled-rl", "rl-only", "other"]

SAID: dict[Role, str] = {
    "direct": "non-reasoning",
    "rubric": "non-reasoning with a rubric",
    "low": "distilled, low effort",
    "medium": "distilled, medium effort",
    "high": "distilled, high effort",
    "distilled": "distilled",
    "distilled-rl": "distilled and RL",
    "rl-only": "RL only",
    "other": "of another kind",
}
_EFFORTS = ("high", "medium", "low", "direct")


def role(preset: Preset, name: str) -> Role:
    """What kind of judge this is; a distilled one by its effort."""
    spec = preset.judges[name]
    if spec.mode == "direct":
        return "other" if spec.rl else "rubric" if spec.rubric else "direct"
    if spec.rubric:
        return "other"
    if spec.sft:
        return spec.mode
    return "distilled-rl" if any(s.sft and s.mode != "direct" for s in _starts(preset, spec)) else "rl-only"


def _starts(preset: Preset, spec: JudgeSpec) -> list[JudgeSpec]:
    if not spec.start:
        return []
    start = preset.judges[spec.start]
    return [start, *_starts(preset, start)]


def judges_of(preset: Preset, wanted: Role) -> list[str]:
    """The judges of a kind, those of the highest effort first. Distilled ones are so at any effort."""
    kinds = ("high", "medium", "low") if wanted == "distilled" else (wanted,)
    found = [name for name in preset.judges if role(preset, name) in kinds]
    return sorted(found, key=lambda name: _EFFORTS.index(preset.judges[name].mode))


def judge_of(preset: Preset, wanted: Role) -> str | None:
    """The first judge of a kind."""
    return next(iter(judges_of(preset, wanted)), None)


def policy_of(preset: Preset, *wanted: Role) -> str | None:
    """The first policy that is trained, pointwise, against a judge of the first kind that has one."""
    for judge in (judge for kind in wanted for judge in judges_of(preset, kind)):
        for name, spec in preset.policies.items():
            if spec.judge == judge and not spec.pairwise:
                return name
    return None
