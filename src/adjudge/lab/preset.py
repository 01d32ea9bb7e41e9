"""A study as a value: presets/*.toml, or a file of the same form.

A study trains judges on what gold says, trains policies against the judges, and audits both. Judges and policies start
from one base model. Unknown keys are refused with the nearest known one.
"""

import difflib
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from adjudge.errors import ConfigError
from adjudge.lab import scale as at_scale
from adjudge.lab.scale import Scale
from adjudge.lab.world.program_gold import GOLDS
from adjudge.types import digest

Mode = Literal["direct", "low", "medium", "high"]


class FineTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Supervised training. `batch`: examples a step; `warmup`: share of the steps; `decay`: of weights.

    What arXiv 2603.12246 does is the default: 1e-5, linear with 3 % warm-up, batch 128.
    """

    rate: float = 1e-5
    batch: int = 128
    epochs: float = 1.0
    warmup: float = 0.03
    schedule: str = "linear"
    decay: float = 0.0
    save_steps: int = 200
    max_tokens: int = 512


class Reinforcing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GRPO. `prompts` a step, `group` rollouts each; `kl`: weight of the distance from the start.

    What arXiv 2603.12246 does is the default but for size: 1e-6, eight rollouts, no KL penalty, clip 0.2 and 0.3.
    """

    rate: float = 1e-6
    steps: int = 100
    prompts: int = 8
    group: int = 8
    temperature: float = 1.0
    kl: float = 0.0
    clip: float = 0.2
    clip_high: float = 0.3
    max_tokens: int = 64
    save_steps: int = 20


class World(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of what is drawn: items judged by gold for the judges, briefs for the policies."""

    train: int
    test: int = 500
    briefs: int = 4000
    held: int = 200


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base. `path`: a pretrained model; without one a Llama of this size is trained on the world.

    First it learns to copy and to find in texts of one or two sentences (`primers`), which it does much sooner than in
    whole ones; then, mixed, the world's language (`texts`: responses to briefs), finding words in whole responses
    (`searches`), and the form of each kind of judgment from a few labelled items (`forms`).

    `policy`: how the base is taught to write responses alone, for policies to start from; without it they start from
    the base, and may write what judges write."""

    path: str = ""
    width: int = 128
    layers: int = 4
    heads: int = 4
    primers: int = 0
    texts: int = 0
    searches: int = 0
    forms: int = 0
    priming: FineTuning = FineTuning()
    training: FineTuning = FineTuning()
    policy: FineTuning | None = None


class JudgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one judge is made, by one of two ways. `sft`: supervised on gold's labels, with its traces unless direct.
    `rl`: GRPO, rewarded for nearness to gold. `mode`: what it writes before the score. `start`: another judge whose
    weights it starts from; the base without. `rubric`: it reads gold's checks for the brief."""

    mode: Mode
    start: str = ""
    sft: FineTuning | None = None
    rl: Reinforcing | None = None
    rubric: bool = False


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy trained against `judge`: a judge's name, "gold" or "blind-gold". `pairwise`: its reward is the share of
    the group's other responses that it beats by the judge's scores."""

    judge: str
    rl: Reinforcing
    pairwise: bool = False


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gold judges `sample` rollouts every `every` steps; `stop`: end a run at the alarm."""

    every: int = 5
    sample: int = 32
    stop: bool = False


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    about: str
    seeds: tuple[int, ...]
    world: World
    model: Model
    judges: dict[str, JudgeSpec]
    policies: dict[str, PolicySpec]
    audit: Audit = Audit()
    judge_tokens: int = 220  # that a judge may write
    threads: int = 0  # of torch; 0: its own choice. Models this small lose by more than one
    scale: Scale | None = None  # of a study that is planned, not run in one process

    def ordered_judges(self) -> list[str]:
        """Names, each after the judge that it starts from."""
        found: list[str] = []
        while len(found) < len(self.judges):
            ready = [n for n, j in self.judges.items() if n not in found and j.start in ("", *found)]
            if not ready:
                raise ConfigError(f"preset {self.name}: judges {sorted(set(self.judges) - set(found))} have no start")
            found += ready
        return found

    def key(self, *parts: object) -> str:
        """Changes with whatever the named parts are made of."""
        return digest(self.world, self.model, *parts)

    def judge_key(self, name: str, seed: int) -> str:
        """Changes with whatever a judge is made of."""
        return self.key(seed, *self._lineage(name))

    def policy_key(self, name: str, seed: int) -> str:
        """Changes with whatever a policy, its judge and its audit are made of."""
        spec = self.policies[name]
        return self.key(seed, *([] if spec.judge in GOLDS else self._lineage(spec.judge)), spec, self.audit)

    def _lineage(self, name: str) -> list[object]:
        """Everything that a judge is made of: its own settings, and those of the judges that it starts from."""
        spec = self.judges[name]
        return [spec, *(self._lineage(spec.start) if spec.start else [])]


def names() -> list[str]:
    """The presets that come with the package."""
    return sorted(p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml"))


def load(name: str) -> Preset:
    """A preset by its name, or the path of a TOML file. Raises ConfigError."""
    path = Path(name) if name.endswith(".toml") else None
    if path is None and name not in names():
        raise ConfigError(f"no preset {name!r}; known: {', '.join(names())}, or the path of a .toml file")
    try:
        text = path.read_text() if path else (_folder() / f"{name}.toml").read_text()
        raw = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{name}: cannot be read: {error}") from None
    preset = _convert(raw, name)
    for policy, spec in preset.policies.items():
        if spec.judge not in (known := [*GOLDS, *preset.judges]):
            raise ConfigError(f"{name}: policies.{policy}: no judge {spec.judge!r}; known: {', '.join(known)}")
    for judge in preset.ordered_judges():
        if (preset.judges[judge].sft is None) == (preset.judges[judge].rl is None):
            raise ConfigError(
                f"{name}: judges.{judge} needs one of sft and rl; a second one goes in a judge of its own"
            )
    if preset.scale:
        _check_scale(preset, preset.scale)
    return preset


def _check_scale(preset: Preset, scale: Scale) -> None:
    for kind, names, models in (
        ("judges", preset.judges, scale.judges),
        ("policies", preset.policies, scale.policies),
    ):
        for name in set(names) ^ set(models):
            raise ConfigError(
                f"{preset.name}: {kind}.{name} and scale.{kind} do not name the same; add the missing one"
            )
    if unknown := set(scale.pairwise) - set(preset.judges):
        raise ConfigError(f"{preset.name}: scale.pairwise names no judge: {', '.join(sorted(unknown))}")
    for name, spec in preset.policies.items():
        if spec.judge in preset.judges and spec.pairwise != (spec.judge in scale.pairwise):
            raise ConfigError(f"{preset.name}: policies.{name}: pairwise must be as its judge is in scale.pairwise")


_PARTS: tuple[type[msgspec.Struct], ...] = (
    *(Preset, World, Model, JudgeSpec, PolicySpec, Audit, FineTuning, Reinforcing),
    *(Scale, at_scale.Data, at_scale.Gold, at_scale.Drawing, at_scale.Lengths, at_scale.Longest, at_scale.Site),
)


def _convert(raw: dict[str, Any], name: str) -> Preset:
    try:
        return msgspec.convert(raw, Preset)
    except msgspec.ValidationError as error:
        unknown = re.search(r"unknown field `([^`]*)`", str(error))
        fields = [f for part in _PARTS for f in part.__struct_fields__]
        close = difflib.get_close_matches(unknown[1], fields, n=1) if unknown else []
        raise ConfigError(f"{name}: {error}{f'; did you mean {close[0]!r}?' if close else ''}") from None


def _folder() -> Any:
    return resources.files("adjudge.lab") / "presets"
