"""A study as a value: presets/*.toml, or a file of the same form.

A study trains judges on what gold says, trains policies against the judges, and audits both. Judges and policies start
from one base model. Unknown keys are refused with the nearest known one.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from adjudge import config
from adjudge.errors import ConfigError
from adjudge.lab import scale as at_scale
from adjudge.lab.scale import Scale
from adjudge.lab.world.program_gold import GOLDS, Effort
from adjudge.types import digest

Mode = Literal["direct", "low", "medium", "high"]
Schedule = Literal["linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"]
Some = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Above0 = Annotated[float, msgspec.Meta(gt=0)]
From0 = Annotated[float, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
HIGHEST_SEED = 4000  # NumPy takes seeds of 32 bits, and each part of a study has one of its own
Seed = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_SEED)]
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # a judge or policy is a folder of the study


class FineTuning(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Supervised training. `batch`: examples a step; `warmup`: share of the steps; `decay`: of weights.

    What arXiv 2603.12246 does is the default: 1e-5, linear with 3 % warm-up, batch 128.
    """

    rate: Above0 = 1e-5
    batch: Some = 128
    epochs: Above0 = 1.0
    warmup: Share = 0.03
    schedule: Schedule = "linear"
    decay: From0 = 0.0
    save_steps: Some = 200
    max_tokens: Some = 512


class Reinforcing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GRPO. `prompts` a step, `group` rollouts each; `kl`: weight of the distance from the start.

    What arXiv 2603.12246 does is the default but for size: 1e-6, eight rollouts, no KL penalty, clip 0.2 and 0.3.
    """

    rate: Above0 = 1e-6
    steps: Some = 100
    prompts: Some = 8
    group: Annotated[int, msgspec.Meta(ge=2)] = 8
    temperature: Above0 = 1.0
    kl: From0 = 0.0
    clip: Above0 = 0.2
    clip_high: Above0 = 0.3
    max_tokens: Some = 64
    save_steps: Some = 20


class World(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of what is drawn: items judged by gold for the judges, briefs for the policies."""

    train: Some
    test: Some = 500
    briefs: Some = 4000
    held: Some = 200


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base. `path`: a pretrained model; without one a Llama of this size is trained on the world.

    First it learns to copy and to find in texts of one or two sentences (`primers`), which it does much sooner than in
    whole ones; then, mixed, the world's language (`texts`: responses to briefs), finding words in whole responses
    (`searches`), and the form of each kind of judgment from a few labelled items (`forms`).

    `policy`: how the base is taught to write responses alone, for policies to start from; without it they start from
    the base, and may write what judges write."""

    path: str = ""
    width: Some = 128
    layers: Some = 4
    heads: Some = 4
    primers: Count = 0
    texts: Count = 0
    searches: Count = 0
    forms: Count = 0
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

    every: Some = 5
    sample: Some = 32
    stop: bool = False


class GoldArm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An arm that is gold in place of the world's program, one that rates. `arms`: its arms.toml, from where the preset
    stands; `arm`: its name there. What it reasons is what judges of mode `high` are taught; `efforts`: arms that are
    gold at lower efforts. `cap_usd`: what gold's judgments may cost a stage; they go on from there when it is raised.
    `keys`: of these arms, by effort; `load` sets them."""

    arms: str
    arm: str
    efforts: dict[Literal["low", "medium"], str] = {}
    cap_usd: Above0 | None = None
    keys: dict[str, str] = {}

    @property
    def by_effort(self) -> dict[Effort, str]:
        """Arm names; `high` is the one whose score counts."""
        arms: list[tuple[Effort, str]] = [("high", self.arm), *self.efforts.items()]
        return dict(arms)


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    about: str
    seeds: Annotated[tuple[Seed, ...], msgspec.Meta(min_length=1)]
    world: World
    model: Model
    judges: dict[str, JudgeSpec]
    policies: dict[str, PolicySpec]
    audit: Audit = Audit()
    gold: GoldArm | None = None  # without one, gold is the world's program
    judge_tokens: Some = 220  # that a judge may write
    threads: Count = 0  # of torch; 0: its own choice. Models this small lose by more than one
    scale: Scale | None = None  # of a study that is planned, not run in one process

    def ordered_judges(self) -> list[str]:
        """Names, each after the judge that it starts from."""
        found: list[str] = []
        while len(found) < len(self.judges):
            ready = [n for n, j in self.judges.items() if n not in found and j.start in ("", *found)]
            if not ready:
                raise ConfigError(f"preset {self.name}: {self._no_start(found)}")
            found += ready
        return found

    def key(self, *parts: object) -> str:
        """Changes with whatever the named parts are made of."""
        gold = [self.gold.keys] if self.gold else []
        return digest(self.world, self.model, *gold, *parts)

    def judge_key(self, name: str, seed: int) -> str:
        """Changes with whatever a judge is made of."""
        return self.key(seed, *self._lineage(name))

    def policy_key(self, name: str, seed: int) -> str:
        """Changes with whatever a policy, its judge and its audit are made of."""
        spec = self.policies[name]
        return self.key(seed, *([] if spec.judge in GOLDS else self._lineage(spec.judge)), spec, self.audit)

    def _no_start(self, found: list[str]) -> str:
        """Why none of the judges that are not found can be made."""
        for name, judge in self.judges.items():
            if judge.start and judge.start not in self.judges:
                return f"judges.{name}: no judge {judge.start!r} to start from; known: {', '.join(self.judges)}"
        circle = [name for name in self.judges if name not in found]
        return f"judges.{circle[0]}: start goes in a circle ({', '.join(circle)}); let one of them start from the base"

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
    if fault := next(_faults(preset), ""):
        raise ConfigError(f"{name}: {fault}")
    if preset.scale:
        _check_scale(preset, preset.scale)
    return _with_gold(preset, (path or Path()).parent)


def _faults(preset: Preset) -> Iterator[str]:
    """What cannot be in settings that are each within their bounds."""
    for kind, names in (("judges", preset.judges), ("policies", preset.policies)):
        for name in names:
            if not NAME.fullmatch(name):
                yield f"{kind}.{name!r}: names are letters, digits, '-', '_' and '.', first a letter or digit"
    for name in GOLDS.keys() & preset.judges.keys():
        yield f"judges.{name}: {name!r} is the name of a gold; take another"
    world, model = preset.world, preset.model
    for name, policy in preset.policies.items():
        if policy.judge not in (known := [*GOLDS, *preset.judges]):
            yield f"policies.{name}: no judge {policy.judge!r}; known: {', '.join(known)}"
        if policy.rl.prompts > world.briefs:
            yield f"policies.{name}: {policy.rl.prompts} prompts a step need as many world.briefs, not {world.briefs}"
    for name in preset.ordered_judges():
        judge = preset.judges[name]
        if (judge.sft is None) == (judge.rl is None):
            yield f"judges.{name} needs one of sft and rl; a second one goes in a judge of its own"
        if judge.rl and judge.rl.prompts > world.train:
            yield f"judges.{name}: {judge.rl.prompts} prompts a step need as many items, world.train is {world.train}"
        efforts = ["direct", *(preset.gold.by_effort if preset.gold else ("low", "medium", "high"))]
        if judge.sft and judge.mode not in efforts:
            yield f"judges.{name}: gold has no arm of effort {judge.mode!r}; name one: gold.efforts.{judge.mode}"
    if not model.path and model.width % (2 * model.heads):
        yield f"model: width {model.width} must be a multiple of twice the heads ({model.heads})"
    if model.policy and not model.texts:
        yield "model.policy is taught with as many responses as model.texts, which is 0; raise it, or leave policy out"
    if preset.gold and preset.scale:
        yield "gold is in scale.gold where a study runs on many machines; leave the other out"


def _with_gold(preset: Preset, folder: Path) -> Preset:
    """The same preset, its gold found. Raises ConfigError where arms.toml or an arm is not there."""
    if preset.gold is None:
        return preset
    arms = (folder / preset.gold.arms).absolute()
    settings = config.load(arms)
    settings.choose(preset.gold.by_effort.values())
    keys = {effort: settings.arm_key(arm) for effort, arm in preset.gold.by_effort.items()}
    return msgspec.structs.replace(preset, gold=msgspec.structs.replace(preset.gold, arms=str(arms), keys=keys))


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
    *(Preset, World, Model, JudgeSpec, PolicySpec, Audit, FineTuning, Reinforcing, GoldArm),
    *(Scale, at_scale.Data, at_scale.Gold, at_scale.Drawing, at_scale.Lengths, at_scale.Longest, at_scale.Site),
)

_NAMED: dict[str, type[msgspec.Struct]] = {"judges": JudgeSpec, "policies": PolicySpec}


def _convert(raw: dict[str, Any], name: str) -> Preset:
    for where, value in _numbers(raw):
        if not math.isfinite(value):
            raise ConfigError(f"{name}: {where} is {value}; give a finite number")
    try:
        return msgspec.convert(raw, Preset)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explained(str(error), raw)}") from None


def _explained(error: str, raw: dict[str, Any]) -> str:
    """What msgspec says of a setting: where it stands, what it is, or the nearest known key."""
    what, _, at = error.partition(" - at `$")
    kind, of_one, rest = at.rstrip("`").removeprefix(".").partition("[...]")
    path = kind.split(".") if kind else []
    if of_one and kind in _NAMED:  # msgspec does not say which of them
        name = next((name for name, spec in raw[kind].items() if not _fits(spec, _NAMED[kind])), "")
        path = [kind, name, *rest.split(".")[1:]]
    where = f"{'.'.join(path)}: " if path else ""
    if unknown := re.search(r"unknown field `([^`]*)`", what):
        fields = {field for part in _PARTS for field in part.__struct_fields__} - {unknown[1]}
        close = difflib.get_close_matches(unknown[1], sorted(fields), n=1)
        return f"{where}{what}{f'; did you mean {close[0]!r}?' if close else ''}"
    value: Any = raw
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return f"{where}{what}{f'; it is {value!r}' if isinstance(value, int | float | str) else ''}"


def _fits(value: Any, kind: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _numbers(raw: Any, where: str = "") -> Iterator[tuple[str, float]]:
    """Each fractional number, with the key that it stands under."""
    if isinstance(raw, float):
        yield where, raw
    elif isinstance(raw, dict | list):
        for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
            yield from _numbers(value, f"{where}.{key}" if where else str(key))


def _folder() -> Any:
    return resources.files("adjudge.lab") / "presets"
