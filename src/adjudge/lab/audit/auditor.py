"""Audits of one training as they happen, or from its file of rollouts afterwards, kept so that a restart asks nothing
again.

    rollouts of a step -> sample -> gold -> figures (audit.py) -> alarm (alarm.py) -> a line of audit.jsonl

A folder holds `audited.jsonl`, the rollouts that gold has judged, and `audit.jsonl`, one line per audited step. A step
that was audited before with the same sample is read from there. Where the sample differs, the training has gone another
way since (it was restarted from a checkpoint): that step and those after it are audited anew.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from adjudge.errors import ConfigError, DataError
from adjudge.files import lines, replacing
from adjudge.lab.audit import alarm
from adjudge.lab.audit.rollouts import Rollout, append_rollouts, cut_half_line, read_rollouts
from adjudge.lab.audit.step import Asking, Plan, StepAudit, drawn, look, measure
from adjudge.lab.scoring import Asked, Judge
from adjudge.types import digest

AUDITED, AUDIT = "audited.jsonl", "audit.jsonl"


class Audited(msgspec.Struct, frozen=True):
    """One audited step. `best`: gold is surer of this step's level than of any before (the lower end of its mean)."""

    figures: StepAudit
    verdict: alarm.Verdict
    best: bool


class _Line(msgspec.Struct, frozen=True):
    """`settings` and `sample`: digests of what the audit was made with and of what it looked at."""

    settings: str
    sample: str
    figures: StepAudit
    gold: tuple[float, ...]
    proxy: tuple[float, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`judged`: rollouts that gold was asked for, by whomever, `unread` of them without a verdict; `gold_..`: what the
    auditor itself had gold asked and billed. `judged_share`: of the rollouts that the training judge scored.
    `tokens_share`, `usd_share`: of what that judge cost, None where it is not given or nothing."""

    audits: int
    judged: int
    unread: int
    gold_calls: int
    gold_output_tokens: int
    gold_usd: float
    judged_share: float | None
    tokens_share: float | None
    usd_share: float | None
    best_step: int | None
    raised_at: int | None


class Auditor:
    """The audits of one training. `gold` may be None where the rollouts bring gold's scores themselves.

    Raises ConfigError where the folder holds audits made with other settings, DataError where it cannot be read.
    """

    def __init__(self, folder: Path, gold: Judge | None, plan: Plan, watch: alarm.Problem) -> None:
        self.folder, self.gold, self.plan, self.watch = folder, gold, plan, watch
        self._settings = digest(plan, watch, gold.name if gold else "")
        folder.mkdir(parents=True, exist_ok=True)
        for name in (AUDITED, AUDIT):
            cut_half_line(folder / name)
        self._lines = _read(folder / AUDIT)
        for line in self._lines:
            if line.settings != self._settings:
                raise ConfigError(
                    f"{folder} holds audits with other settings; give another folder, or the same settings"
                )
        self._known = {_key(r): r for r in _rollouts(folder / AUDITED)}
        self._state, self._audited = alarm.init(watch), list[Audited]()
        self._replay()

    @property
    def audits(self) -> tuple[Audited, ...]:
        """All so far, in order."""
        return tuple(self._audited)

    def due(self, step: int) -> bool:
        return step % self.plan.every == 0

    async def step(self, rollouts: Sequence[Rollout]) -> Audited:
        """Audit one step, all of whose rollouts are given. Raises DataError for scores outside of their range, and
        ConfigError without a gold judge where no rollout has gold."""
        at, sample = rollouts[0].step, drawn(rollouts, self.plan)
        key = digest([_key(r) for r in sample])
        for place, line in enumerate(self._lines):
            if line.figures.step == at and line.sample == key:
                return self._audited[place]
        self._forget(at)
        judged, asking = await self._judged(sample)
        scores = {r.id: r.gold for r in judged}
        whole = [msgspec.structs.replace(r, gold=scores.get(r.id)) for r in rollouts]
        first = self._lines[0].figures if self._lines else None
        seen = look(whole, self.plan)
        line = _Line(
            self._settings,
            key,
            measure(whole, self.plan, asking=asking, first=first),
            tuple(seen.gold_N.tolist()),
            tuple(seen.proxy_N.tolist()),
        )
        audited = self._watch(line)
        _append(line, self.folder / AUDIT)
        self._lines.append(line)
        return audited

    def summary(self, *, judge_calls: int = 0, judge_output_tokens: int = 0, judge_usd: float = 0.0) -> Summary:
        """What the audits took, and of what share of the judge's work in the whole training. Without `judge_calls`
        steps that were not audited are taken to be as large as those that were."""
        figures = [a.figures for a in self._audited]
        asked = [f.asking for f in figures]
        tokens, usd, unread = (
            sum(a.output_tokens for a in asked),
            sum(a.usd for a in asked),
            sum(a.unread for a in asked),
        )
        judged = sum(f.audited for f in figures) + unread
        scored = judge_calls or self.plan.every * sum(f.proxied for f in figures)
        return Summary(
            audits=len(figures),
            judged=judged,
            unread=unread,
            gold_calls=sum(a.calls for a in asked),
            gold_output_tokens=tokens,
            gold_usd=usd,
            judged_share=judged / scored if scored else None,
            tokens_share=tokens / judge_output_tokens if judge_output_tokens else None,
            usd_share=usd / judge_usd if judge_usd else None,
            best_step=max((a.figures.step for a in self._audited if a.best), default=None),
            raised_at=self._audited[-1].verdict.raised_at if self._audited else None,
        )

    async def _judged(self, sample: Sequence[Rollout]) -> tuple[list[Rollout], Asking]:
        """The sample with gold's scores, kept before anything is made of them."""
        known = [self._known.get(_key(r), r if r.gold is not None else None) for r in sample]
        fresh = [r for r, judged in zip(sample, known, strict=True) if judged is None]
        asking, scored = Asking(), []
        if fresh:
            if self.gold is None:
                raise ConfigError(f"no rollout of step {fresh[0].step} has gold; name a gold judge")
            scores = await self.gold.score([Asked(r.id, r.prompt, r.response, group=r.group) for r in fresh])
            scored = [msgspec.structs.replace(r, gold=s.value) for r, s in zip(fresh, scores, strict=True)]
            asking = Asking(
                sum(not s.cached for s in scores),
                sum(s.value is None for s in scores),
                sum(s.usage.output_tokens for s in scores),
                sum(s.cost_usd for s in scores),
            )
        append_rollouts(scored, self.folder / AUDITED)
        self._known |= {_key(r): r for r in scored}
        return [r for r in known if r is not None] + scored, asking

    def _watch(self, line: _Line) -> Audited:
        """The alarm's word on one more audit."""
        seen = alarm.Look(line.figures.step, np.array(line.gold), np.array(line.proxy))
        state = alarm.step(self.watch, self._state, seen)
        assert state.verdict is not None
        gold = line.figures.gold
        before = [a.figures.gold.low for a in self._audited if a.figures.gold is not None]
        audited = Audited(line.figures, state.verdict, best=gold is not None and all(low < gold.low for low in before))
        self._state = state
        self._audited.append(audited)
        return audited

    def _replay(self) -> None:
        self._state, self._audited = alarm.init(self.watch), list[Audited]()
        for line in self._lines:
            self._watch(line)

    def _forget(self, step: int) -> None:
        """Drop the audits of this step and later ones: they were of a training that was left."""
        if not self._lines or self._lines[-1].figures.step < step:
            return
        self._lines = [line for line in self._lines if line.figures.step < step]
        with replacing(self.folder / AUDIT) as file:
            file.writelines(msgspec.json.encode(line) + b"\n" for line in self._lines)
        self._replay()


async def audit_file(path: Path, auditor: Auditor) -> Summary:
    """Audit a training from its file of rollouts, whose steps stand together in order: every step that holds gold's
    scores already, and where there is a gold judge every step that is due. Raises DataError."""
    scored = 0
    for step, rollouts in itertools.groupby(read_rollouts(path), key=lambda r: r.step):
        whole = list(rollouts)
        scored += sum(r.proxy is not None for r in whole)
        if any(r.gold is not None for r in whole) or (auditor.gold is not None and auditor.due(step)):
            await auditor.step(whole)
    return auditor.summary(judge_calls=scored)


def _key(rollout: Rollout) -> str:
    return digest(rollout.step, rollout.id, rollout.prompt, rollout.response)


def _read(path: Path) -> list[_Line]:
    if not path.exists() or not path.stat().st_size:
        return []
    found = []
    for number, line in lines(path):
        try:
            found.append(msgspec.json.decode(line, type=_Line))
        except msgspec.DecodeError as error:
            raise DataError(f"is no audit: {error}", path=path, line=number, remedy="delete the folder") from None
    return found


def _append(line: _Line, path: Path) -> None:
    with open(path, "ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def _rollouts(path: Path) -> list[Rollout]:
    return list(read_rollouts(path)) if path.exists() and path.stat().st_size else []
