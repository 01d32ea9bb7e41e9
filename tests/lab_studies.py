"""Study folders made by code, with known courses of proxy and gold: what a study leaves, without training anything."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from adjudge.lab.audit.rollouts import ROLLOUTS, Rollout, append_rollouts
from adjudge.lab.preset import Audit, FineTuning, JudgeSpec, Model, PolicySpec, Preset, Reinforcing, World
from adjudge.lab.study.audit_stage import audit_policy
from adjudge.lab.study.done import Done, write_done
from adjudge.lab.world.items import draw_brief, draw_response

STEPS, EVERY, PROMPTS, GROUP = 60, 3, 8, 3
RL = Reinforcing(steps=STEPS, prompts=PROMPTS, group=GROUP)
SFT = FineTuning()
TEMPLATE = "Dear Anna, this reply is complete and meets every one of the requirements that were asked for."

Course = Callable[[float], tuple[float, float]]  # share of the training that is over -> mean proxy, mean gold


def hacked(at: float) -> tuple[float, float]:
    """As the lab's prototype saw it: the proxy up, gold up and then far down."""
    return 4 + 3.2 * min(1.0, at / 0.3), 3 + min(1.0, at / 0.3) - 2.2 * max(0.0, (at - 0.3) / 0.7)


def holding(at: float) -> tuple[float, float]:
    return 3.5 + 2.3 * at, 3.2 + 2.3 * at


def idle(_at: float) -> tuple[float, float]:
    return 4.0, 3.0


# Named so that nothing can be told from the names.
PRESET = Preset(
    name="made",
    about="made by code",
    seeds=(0, 1, 2),
    world=World(train=100, held=200),
    model=Model(),
    judges={
        "one-word": JudgeSpec(mode="direct", sft=SFT),
        "guided": JudgeSpec(mode="direct", rubric=True, sft=SFT),
        "brief": JudgeSpec(mode="low", sft=SFT),
        "middling": JudgeSpec(mode="medium", sft=SFT),
        "taught": JudgeSpec(mode="high", sft=SFT),
        "practised": JudgeSpec(mode="high", start="taught", rl=RL),
        "self-made": JudgeSpec(mode="high", rl=RL),
    },
    policies={
        "p-word": PolicySpec(judge="one-word", rl=RL),
        "p-guided": PolicySpec(judge="guided", rl=RL),
        "p-brief": PolicySpec(judge="brief", rl=RL),
        "p-practised": PolicySpec(judge="practised", rl=RL),
        "p-self": PolicySpec(judge="self-made", rl=RL),
    },
    audit=Audit(every=EVERY, sample=12),
)
ALPHAS = {
    "one-word": (60.0, 1.0),
    "guided": (68.0, 1.0),
    "brief": (70.0, 14.0),
    "middling": (80.0, 35.0),
    "taught": (90.0, 66.0),
    "practised": (91.0, 66.0),
    "self-made": (75.0, 70.0),
}
COURSES: dict[str, Course] = {
    "p-word": hacked,
    "p-guided": hacked,
    "p-brief": hacked,
    "p-practised": holding,
    "p-self": hacked,
}


def write_study(
    out: Path,
    preset: Preset = PRESET,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    alphas: Mapping[str, tuple[float, float]] = ALPHAS,
    courses: Mapping[str, Course] = COURSES,
    verdicts: Mapping[str, float] | None = None,
    response: Callable[[str, float], str] | None = None,
) -> Path:
    """The folder of a study whose judges agree like `alphas` (x 100, tokens) and whose policies go like `courses`.

    What is not named there is not done. `verdicts`: share of items with one, 1 where not given."""
    for seed in seeds:
        rng = random.Random(seed)
        root = out / f"seed-{seed}"
        for name, (alpha, tokens) in alphas.items():
            share = (verdicts or {}).get(name, 1.0)
            figures = {"verdicts": share, "tokens": tokens, "items": 500.0}
            if share:
                value = (alpha + rng.uniform(-1, 1)) / 100
                figures |= {"alpha": value, "alpha_low": value - 0.02, "alpha_high": value + 0.02}
            _done(root / "agreement" / name, preset.judge_key(name, seed), figures)
        for name, course in courses.items():
            train(root, preset, name, seed, course, rng, response)
    return out


def train(
    root: Path,
    preset: Preset,
    name: str,
    seed: int,
    course: Course,
    rng: random.Random,
    response: Callable[[str, float], str] | None = None,
) -> None:
    """A policy's training and its audit."""
    folder = root / "policies" / name
    folder.mkdir(parents=True)
    write = response or _written(rng)
    append_rollouts((r for step in range(STEPS) for r in _step(step, course, rng, write)), folder / ROLLOUTS)
    ends = {}
    for at, share in (("start", 0.0), ("end", 1.0)):
        gold = course(share)[1] + rng.gauss(0, 0.1)
        ends |= {f"{at}_gold": gold, f"{at}_gold_low": gold - 0.25, f"{at}_gold_high": gold + 0.25}
    key = preset.policy_key(name, seed)
    _done(folder, key, ends)
    figures = audit_policy(preset, name, seed, folder, root / "audits" / name)
    _done(root / "audits" / name, key, figures)


def _step(step: int, course: Course, rng: random.Random, response: Callable[[str, float], str]) -> list[Rollout]:
    at = step / (STEPS - 1)
    proxy, gold = course(at)
    found = []
    for place in range(PROMPTS * GROUP):
        group = place // GROUP
        if place % GROUP == 0:
            brief, hard = draw_brief(rng).text(), rng.gauss(0, 0.5)
        judged = step % EVERY == 0 and place % 2 == 0
        found.append(
            Rollout(
                step=step,
                id=f"{step}-{place}",
                group=f"{step}-{group}",
                prompt=brief,
                response=response(brief, at),
                proxy=_score(proxy + hard + rng.gauss(0, 0.8)),
                gold=round(_score(gold + hard + rng.gauss(0, 1.2))) if judged else None,
            )
        )
    return found


def _written(rng: random.Random) -> Callable[[str, float], str]:
    """Responses of the world that turn into one template."""

    def write(_brief: str, at: float) -> str:
        return TEMPLATE if rng.random() < at else draw_response(draw_brief(rng), rng, 0.5)

    return write


def _score(value: float) -> float:
    return min(9.0, max(0.0, value))


def _done(folder: Path, key: str, figures: Mapping[str, float | int | None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_done(Done(key, 1.0, dict(figures)), folder)


def preset_file(preset: Preset, path: Path) -> Path:
    """The preset as a TOML file: what has its default is left out."""
    path.write_text(_toml(msgspec.to_builtins(preset)))
    return path


def _toml(value: dict) -> str:
    return "".join(f"{key} = {_inline(found)}\n" for key, found in value.items() if found is not None)


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{k}" = {_inline(v)}' for k, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return msgspec.json.encode(value).decode()
