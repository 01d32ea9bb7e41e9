"""A study before it is run: of every stage its size, memory, judge calls, hours and command. Nothing is trained here.

The stages are those of study.py; what a step costs is in machines.py, the texts' mean lengths in lengths.py. A step of
GRPO is generation, judging and gradient one after the other: a trainer that judges while it generates needs less.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from adjudge.lab.plan.lengths import lengths
from adjudge.lab.plan.machines import (
    GB,
    MACHINES,
    Machine,
    Rates,
    Serving,
    Shape,
    compute_s,
    own_shape,
    serve,
    shape,
    training_gb,
)
from adjudge.lab.plan.stage_commands import RECIPES, command_of
from adjudge.lab.preset import FineTuning, JudgeSpec, PolicySpec, Preset, Reinforcing
from adjudge.lab.scale import Lengths, Site

VOCABULARY = 1024  # of the lab's own tokenizers (models.py), at most
FORWARD = 2.0  # FLOP a weight and token
CHECKPOINT_BYTES = 12  # a weight: itself and two moments in fp32
KEPT_BYTES = 4  # a weight of what a stage leaves
CHECKPOINTS = 2
TEXT_BYTES = 5.0  # a token


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A stage. `tokens`: trained on; `written`: generated, by the model that is trained, its judge and gold together;
    `servers`: GPUs that only judge; `memory_gb`, `server_gb`: needed of one GPU; `calls`: of judges; `calls_per_s`: in
    the mean over the stage's time; `disk_gb`: left behind, `scratch_gb`: while it runs. `hours` are of the clock."""

    kind: str
    of: str = ""
    model: str = ""
    judge: str = ""
    steps: int = 0
    examples: int = 0
    tokens: float = 0
    written: float = 0
    gpus: int = 0
    servers: int = 0
    memory_gb: float = 0
    server_gb: float = 0
    fits: bool = True
    calls: int = 0
    calls_per_s: float = 0
    hours: float = 0
    usd: float | None = None
    disk_gb: float = 0
    scratch_gb: float = 0
    command: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind} {self.of}".strip()

    @property
    def gpu_hours(self) -> float:
        return self.hours * (self.gpus + self.servers)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """The plan's hours for a stage against what the paper reports of it."""

    stage: str
    said: str
    published_hours: float
    planned_hours: float

    @property
    def ratio(self) -> float:
        return self.planned_hours / self.published_hours


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    preset: str
    machine: Machine
    rates: Rates
    lengths: Lengths
    rows: tuple[Row, ...]
    held: tuple[Held, ...] = ()
    unstated: tuple[str, ...] = ()

    @property
    def gpu_hours(self) -> float:
        return math.fsum(row.gpu_hours for row in self.rows)

    @property
    def usd(self) -> float | None:
        costs = [row.usd for row in self.rows]
        return None if any(cost is None for cost in costs) else math.fsum(c for c in costs if c is not None)

    @property
    def disk_gb(self) -> float:
        """Left behind by all stages, and the largest scratch of one."""
        return math.fsum(row.disk_gb for row in self.rows) + max(row.scratch_gb for row in self.rows)


def plan(
    preset: Preset,
    gpu: str = "",
    rates: Rates = Rates(),  # noqa: B008 -- a value
    price_usd: float | None = None,
    recipes: str = RECIPES,
) -> Plan:
    """Plan one seed of a preset. `gpu`: of MACHINES, the preset's own without; `price_usd`: of a GPU hour; `recipes`:
    the folder that the commands name.

    Raises ConfigError for a model whose shape is not known.
    """
    machine = MACHINES[gpu or (preset.scale.gpu if preset.scale else "cpu")]
    planner = _Planner(preset, machine, rates, lengths(preset))
    rows = tuple(
        msgspec.structs.replace(
            row,
            usd=None if price_usd is None else price_usd * row.gpu_hours,
            fits=max(row.memory_gb, row.server_gb) <= machine.memory_gb,
            command=command_of(preset, row.kind, row.of, recipes),
        )
        for row in planner.rows()
    )
    found = Plan(preset=preset.name, machine=machine, rates=rates, lengths=planner.lengths, rows=rows)
    if preset.scale is None:
        return found
    return msgspec.structs.replace(found, held=_held(preset, rows), unstated=preset.scale.unstated)


def _held(preset: Preset, rows: tuple[Row, ...]) -> tuple[Held, ...]:
    assert preset.scale is not None
    by_name = {row.name: row for row in rows}
    found = []
    for one in preset.scale.published:
        row = by_name[one.stage]
        sft = preset.judges[row.of].sft if row.kind == "judge-sft" else None
        whole = sft.epochs if sft else row.steps
        found.append(
            Held(
                stage=one.stage,
                said=one.said,
                published_hours=one.hours,
                planned_hours=row.hours * one.per / whole,
            )
        )
    return tuple(found)


class _Planner(NamedTuple):
    """`lengths`: mean tokens of the texts."""

    preset: Preset
    machine: Machine
    rates: Rates
    lengths: Lengths

    def rows(self) -> Iterator[Row]:
        yield from self._annotate()
        if self.preset.scale is None:
            yield self._base()
            if self.preset.model.policy:
                yield self._start(self.preset.model.policy)
        for name in self.preset.ordered_judges():
            spec = self.preset.judges[name]
            yield self._judge_sft(name, spec) if spec.sft else self._judge_grpo(name, spec)
            yield self._agreement(name, spec)
        for name, policy in self.preset.policies.items():
            yield self._policy(name, policy)
            yield self._audit(name, policy)

    def _annotate(self) -> Iterator[Row]:
        world, scale = self.preset.world, self.preset.scale
        labelled = world.train + world.test
        kept = {mode: tokens for mode, tokens in self.lengths.traces.items() if mode != "direct"}
        text = labelled * (self.lengths.instruction + self.lengths.response + sum(kept.values()))
        disk = TEXT_BYTES * text / GB
        if scale is None:
            yield Row(kind="annotate", examples=labelled, disk_gb=disk)
            return
        asked = 2 * scale.data.pairs + world.test
        for effort, written in kept.items():
            row = self._gold("annotate", effort, asked, self._asked(), written)
            yield msgspec.structs.replace(row, examples=asked, disk_gb=disk / len(kept))
        if scale.pairwise:
            shown, written = self._asked(paired=True), self.lengths.traces["high"]
            yield self._gold("annotate", "pairs", 2 * scale.data.pairs, shown, written)  # both orders
        if any(judge.rubric for judge in self.preset.judges.values()):
            prompts = scale.data.pairs + world.briefs
            yield self._gold("annotate", "rubric", prompts, self.lengths.instruction, self.lengths.rubric)

    def _base(self) -> Row:
        model, read = self.preset.model, self.lengths
        response = read.instruction + read.response
        judged = sum(self._asked() + trace for trace in read.traces.values())
        search = 2 * read.response + 30  # the response twice, the words that are sought twice
        primer = search / 2
        whole = model.texts * response + model.searches * search + model.forms * judged
        tokens = model.training.epochs * whole + model.priming.epochs * model.primers * primer
        examples = model.texts + model.searches + model.forms * len(read.traces) + model.primers
        return self._trained(Row(kind="base", examples=examples), "", tokens, model.training.max_tokens)

    def _start(self, taught: FineTuning) -> Row:
        texts = self.preset.model.texts
        tokens = taught.epochs * texts * (self.lengths.instruction + self.lengths.response)
        return self._trained(Row(kind="policy-sft", examples=texts), "", tokens, taught.max_tokens)

    def _judge_sft(self, name: str, spec: JudgeSpec) -> Row:
        assert spec.sft is not None
        scale = self.preset.scale
        examples = self.preset.world.train
        if scale and spec.mode in scale.data.kept and name not in scale.pairwise:
            examples = scale.data.kept[spec.mode]
        if scale and name in scale.pairwise:
            examples = scale.data.pairs
        each = self._asked(spec, paired=self._paired(name)) + self.lengths.traces[spec.mode]
        row = Row(
            kind="judge-sft",
            of=name,
            examples=examples,
            steps=round(spec.sft.epochs * examples / spec.sft.batch),
        )
        return self._trained(row, name, spec.sft.epochs * examples * each, spec.sft.max_tokens)

    def _judge_grpo(self, name: str, spec: JudgeSpec) -> Row:
        assert spec.rl is not None
        longest = self.preset.scale.longest.judge_prompt if self.preset.scale else 0
        prompt, written = self._asked(spec, paired=self._paired(name)), self.lengths.traces[spec.mode]
        row = Row(kind="judge-grpo", of=name, examples=spec.rl.steps * spec.rl.prompts)
        return self._reinforced(row, name, spec.rl, prompt, min(written, spec.rl.max_tokens), longest, None)

    def _agreement(self, name: str, spec: JudgeSpec) -> Row:
        site, calls = self._site("agreement"), self.preset.world.test
        served = self._judged(name, spec, calls, site.gpus)
        written = calls * self.lengths.traces[spec.mode]
        row = Row(kind="agreement", of=name, model=self._model_name(name), examples=calls, gpus=site.gpus)
        return _served(row, served, calls, written)

    def _policy(self, name: str, policy: PolicySpec) -> Row:
        scale, rl, site = self.preset.scale, policy.rl, self._site("policy-grpo")
        rollouts = rl.prompts * rl.group
        spec = self.preset.judges.get(policy.judge)
        served, calls = None, 0
        if spec is not None:
            calls = rollouts * (rl.group - 1) if self._paired(policy.judge) else rollouts
            served = self._judged(policy.judge, spec, calls, site.servers or site.gpus)
        longest = scale.longest.policy_prompt if scale else 0
        row = Row(kind="policy-grpo", of=name, judge=policy.judge, examples=rl.steps * rl.prompts, servers=site.servers)
        row = self._reinforced(
            row, name, rl, self.lengths.instruction, min(self.lengths.response, rl.max_tokens), longest, served
        )
        if served is None or spec is None:
            return row
        all_calls = calls * rl.steps
        return msgspec.structs.replace(
            row,
            calls=all_calls,
            calls_per_s=all_calls / (3600 * row.hours),
            written=row.written + all_calls * self.lengths.traces[spec.mode],
            server_gb=served.memory_gb,
        )

    def _audit(self, name: str, policy: PolicySpec) -> Row:
        audit, world = self.preset.audit, self.preset.world
        calls = math.ceil(policy.rl.steps / audit.every) * audit.sample + 2 * world.held
        if self.preset.scale is None:
            return Row(kind="audit", of=name, examples=calls)  # gold is a program
        return self._gold("audit", name, calls, self._asked(), self.lengths.traces["high"])

    def _gold(self, kind: str, of: str, calls: int, prompt: float, written: float) -> Row:
        assert self.preset.scale is not None
        gold, gpus = self.preset.scale.gold, self._site("annotate").gpus
        served = serve(shape(gold.model), calls, prompt, written, gold.max_tokens, self.machine, gpus, self.rates)
        return _served(Row(kind=kind, of=of, model=gold.model, gpus=gpus), served, calls, calls * written)

    def _judged(self, name: str, spec: JudgeSpec, calls: int, gpus: int) -> Serving:
        """What it takes for a judge to give so many judgments."""
        scale = self.preset.scale
        cap = scale.drawing.max_tokens if scale else self.preset.judge_tokens
        written = self.lengths.traces[spec.mode]
        longest = cap if spec.mode != "direct" else written
        prompt = self._asked(spec, paired=self._paired(name))
        return serve(self._shape(name), calls, prompt, written, longest, self.machine, gpus, self.rates)

    def _trained(self, row: Row, of: str, tokens: float, longest: int) -> Row:
        model, gpus = self._shape(of), self._site(row.kind).gpus
        seconds = compute_s(model, tokens, self._passes(), self.machine, gpus, self.rates)
        return self._weighed(row, of, tokens, longest, seconds)

    def _reinforced(
        self, row: Row, of: str, rl: Reinforcing, prompt: float, written: float, longest: int, judged: Serving | None
    ) -> Row:
        model, gpus, calls = self._shape(of), self._site(row.kind).gpus, rl.prompts * rl.group
        made = serve(model, calls, prompt, written, rl.max_tokens, self.machine, gpus, self.rates)
        tokens = calls * (prompt + written)
        passes = self._passes() + (FORWARD if self.preset.scale else 0)  # verl computes the old probabilities again
        gradient = compute_s(model, tokens, passes, self.machine, gpus, self.rates)
        step = made.seconds + gradient + (judged.seconds if judged else 0.0)
        longest = (longest or math.ceil(prompt)) + rl.max_tokens
        row = msgspec.structs.replace(row, steps=rl.steps, written=rl.steps * calls * written)
        return self._weighed(row, of, rl.steps * tokens, longest, rl.steps * step)

    def _weighed(self, row: Row, of: str, tokens: float, longest: int, seconds: float) -> Row:
        model, gpus, weights = self._shape(of), self._site(row.kind).gpus, self._shape(of).weights * 1e9
        memory = training_gb(model, longest, self.machine, gpus, recomputed=self.preset.scale is not None)
        return msgspec.structs.replace(
            row,
            model=self._model_name(of),
            tokens=tokens,
            gpus=gpus,
            hours=seconds / 3600,
            memory_gb=memory,
            disk_gb=KEPT_BYTES * weights / GB,
            scratch_gb=CHECKPOINTS * CHECKPOINT_BYTES * weights / GB,
        )

    def _asked(self, spec: JudgeSpec | None = None, *, paired: bool = False) -> float:
        """Mean tokens of a judge's prompt."""
        rubric = self.lengths.rubric if spec and spec.rubric else 0.0
        return self.lengths.frame + self.lengths.instruction + rubric + self.lengths.response * (1 + paired)

    def _paired(self, judge: str) -> bool:
        return self.preset.scale is not None and judge in self.preset.scale.pairwise

    def _passes(self) -> float:
        return 8.0 if self.preset.scale else 6.0

    def _site(self, kind: str) -> Site:
        return self.preset.scale.sites[kind] if self.preset.scale else Site(gpus=1)

    def _model_name(self, of: str) -> str:
        scale, model = self.preset.scale, self.preset.model
        if scale:
            return (scale.judges | scale.policies)[of]
        return model.path or f"Llama {model.width} x {model.layers}"

    def _shape(self, of: str) -> Shape:
        model = self.preset.model
        if self.preset.scale or model.path:
            return shape(self._model_name(of))
        return own_shape(model.width, model.layers, model.heads, VOCABULARY)


def _served(row: Row, served: Serving, calls: int, written: float) -> Row:
    return msgspec.structs.replace(
        row,
        calls=calls,
        written=written,
        hours=served.seconds / 3600,
        calls_per_s=calls / served.seconds,
        server_gb=served.memory_gb,
    )
