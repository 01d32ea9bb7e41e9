"""Stage `audit`: what gold says of a policy's training, step by step, with the alarm.

It reads the rollouts that stage `policy-grpo` kept, a sample of which gold has judged already, and asks gold for the
sample of steps of which it has judged none. `audit.jsonl` in the stage's folder holds the figures of each audited step
(auditor.py).
"""

import asyncio
from pathlib import Path

from adjudge.errors import ConfigError
from adjudge.lab.audit.auditor import Auditor, audit_file
from adjudge.lab.audit.rollouts import ROLLOUTS, read_rollouts
from adjudge.lab.audit.step import Plan
from adjudge.lab.preset import Preset
from adjudge.lab.scoring import Judge
from adjudge.lab.study import gold
from adjudge.lab.study.done import Figures, read_done


def plan(preset: Preset, name: str, seed: int) -> Plan:
    """How a policy is audited. A share of the group that is beaten says nothing over time, and ends at 1."""
    settings = Plan(every=preset.audit.every, sample=preset.audit.sample, seed=seed)
    if preset.policies[name].pairwise:
        return Plan(every=settings.every, sample=settings.sample, seed=seed, proxy_top=1.0, proxy_level=False)
    return settings


def auditor(preset: Preset, name: str, seed: int, folder: Path, golden: Judge | None = None) -> Auditor:
    """The audits that are in the stage's folder, and the means to go on with them: gold, open where it is to be asked.

    Raises ConfigError, DataError."""
    planned = plan(preset, name, seed)
    golden = golden or gold.gold_of(preset, folder)
    return Auditor(folder, golden, planned, planned.watch(preset.policies[name].rl.steps))


def audit_policy(preset: Preset, name: str, seed: int, training: Path, folder: Path) -> Figures:
    """Audit the training whose folder is given. Returns what it took and what came of it: `gold_calls` are responses
    that gold judged, in training or here, `calls_share` their share of the rollouts that the training judge was given.

    Raises ConfigError where the training is not over.
    """
    if read_done(training) is None:
        raise ConfigError(f"{training} is not whole; run the stage before this one: adjudge lab policy-grpo")
    with gold.opened(preset, folder) as golden:
        made = auditor(preset, name, seed, folder, golden)
        asyncio.run(audit_file(training / ROLLOUTS, made))
    given = sum(1 for _ in read_rollouts(training / ROLLOUTS))
    audited = sum(a.figures.audited for a in made.audits)
    summary = made.summary()
    return {
        "audits": summary.audits,
        "gold_calls": audited,
        "judge_calls": given,
        "calls_share": audited / given,
        "best_step": summary.best_step,
        "raised_at": summary.raised_at,
    } | gold.bill(preset, folder)
