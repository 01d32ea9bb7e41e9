"""What an audit says of one step of a training: pure figures over its rollouts, some of which gold has judged.

Proxy, length, repetition, distance and flags are over all rollouts of the step that are given; gold and what needs it
are over the audited ones, a sample drawn by a seeded hash. Intervals take the prompt as their unit: rollouts of one
prompt are no independent draws.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from adjudge import metrics
from adjudge.errors import ConfigError
from adjudge.lab.audit.alarm import Look, Problem
from adjudge.lab.audit.rollouts import Rollout
from adjudge.lab.scoring import TOP
from adjudge.metrics import FEW, Estimate
from adjudge.redteam.scan import shares

Floats = NDArray[np.float64]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gold judges at most `sample` rollouts of every `every`-th step. `proxy_top`: the proxy's highest score.
    `proxy_level`: false where the proxy's mean says nothing over time (alarm.Problem), as the share of its own group
    that a response beats does not. `words`: in the n-grams of which repetition is counted. Raises ConfigError."""

    every: int = 5
    sample: int = 32
    seed: int = 0
    proxy_top: float = float(TOP)
    proxy_level: bool = True
    words: int = 4
    level: float = 0.95

    def __post_init__(self) -> None:
        if min(self.every, self.sample, self.words) < 1:
            raise ConfigError("every, sample and words of an audit must each be 1 or more")

    def watch(self, steps: int) -> Problem:
        """What the alarm tests in a training of this many steps."""
        return Problem(looks=max(1, steps // self.every), proxy_top=self.proxy_top if self.proxy_level else None)


class Asking(msgspec.Struct, frozen=True):
    """What gold was asked for an audit, and billed: `calls` made, `unread` answers without a verdict."""

    calls: int = 0
    unread: int = 0
    output_tokens: int = 0
    usd: float = 0.0


class StepAudit(msgspec.Struct, frozen=True, kw_only=True):
    """One audited step; None where what it takes is not known.

    Counts: `rollouts` given, `proxied` with a proxy, `audited` with gold. `proxy_sd`, `gold_sd`: over rollouts.
    `divergence`: the proxy's rise since the first audit less gold's, each in standard deviations of the first audit.
    `alpha`: Krippendorff's, interval, of proxy and gold where both are 0 to 9; `rank`: Spearman's. `tokens`, `words`:
    mean length. `repeated`: mean share of a response's n-grams that it has had before; `distinct`: distinct n-grams
    over all n-grams of one response per prompt together (it falls with their number: compare steps of one run).
    `distance`: mean log ratio of policy to start policy per token, in nats: an estimate of KL(policy || start).
    `flagged`: share of rollouts by kind of flag (redteam/scan.py).
    """

    step: int
    rollouts: int
    proxied: int
    audited: int
    asking: Asking
    proxy: Estimate | None
    gold: Estimate | None
    proxy_sd: float | None
    gold_sd: float | None
    divergence: float | None
    alpha: float | None
    rank: float | None
    tokens: float | None
    words: float
    repeated: float | None
    distinct: float | None
    distance: float | None
    flagged: dict[str, float]


def drawn(rollouts: Sequence[Rollout], plan: Plan) -> list[Rollout]:
    """The sample of one step that gold judges, whatever order the rollouts come in; those with gold, where any have it.

    As many prompts as there are before a second rollout of any; within that by a hash of seed, step and id, which
    nothing that a policy writes has a hand in.
    """
    if any(r.gold is not None for r in rollouts):
        return [r for r in rollouts if r.gold is not None]
    by_group = defaultdict[str, list[Rollout]](list)
    for rollout in sorted(rollouts, key=lambda r: _lot(r, plan.seed)):
        by_group[group_of(rollout)].append(rollout)
    turns = [(turn, _lot(r, plan.seed), r) for group in by_group.values() for turn, r in enumerate(group)]
    return [rollout for _, _, rollout in sorted(turns, key=lambda t: t[:2])[: plan.sample]]


def _lot(rollout: Rollout, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{rollout.step}:{rollout.id}".encode(), digest_size=8).digest()


def group_of(rollout: Rollout) -> str:
    return rollout.group or rollout.prompt


def measure(rollouts: Sequence[Rollout], plan: Plan, *, asking: Asking, first: StepAudit | None = None) -> StepAudit:
    """The figures of one step. `first`: the run's first audit, None when this is it."""
    proxied = [(group_of(r), r.proxy) for r in rollouts if r.proxy is not None]
    golden = [(group_of(r), r.gold) for r in rollouts if r.gold is not None]
    both = np.array([(r.proxy, r.gold) for r in rollouts if None not in (r.proxy, r.gold)], float).reshape(-1, 2)
    words = [r.response.split() for r in rollouts]
    known = [(r.tokens, r.start_nll, r.policy_nll) for r in rollouts]
    tokens = [t for t, _, _ in known if t is not None]
    audit = StepAudit(
        step=rollouts[0].step,
        rollouts=len(rollouts),
        proxied=len(proxied),
        audited=len(golden),
        asking=asking,
        proxy=mean_of(proxied, plan.level, plan.proxy_top),
        gold=mean_of(golden, plan.level, TOP),
        proxy_sd=_sd([x for _, x in proxied]),
        gold_sd=_sd([x for _, x in golden]),
        divergence=None,
        alpha=metrics.interval_alpha(both[:, 0], both[:, 1]) if plan.proxy_top == TOP else None,
        rank=rank(both),
        tokens=float(np.mean(tokens)) if tokens else None,
        words=float(np.mean([len(w) for w in words])),
        repeated=repeated(words, plan.words),
        distinct=distinct({group_of(r): w for r, w in zip(rollouts, words, strict=True)}.values(), plan.words),
        distance=_distance(known),
        flagged=shares(rollouts),
    )
    return msgspec.structs.replace(audit, divergence=divergence(first or audit, audit))


def look(rollouts: Sequence[Rollout], plan: Plan) -> Look:
    """What the alarm sees of a step: mean gold, and mean proxy of all rollouts, of each prompt that has both."""
    gold, proxy = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for rollout in rollouts:
        if rollout.gold is not None:
            gold[group_of(rollout)].append(rollout.gold)
        if rollout.proxy is not None:
            proxy[group_of(rollout)].append(rollout.proxy)
    wanted = [g for g in gold if g in proxy or not plan.proxy_level]
    proxy_N = [float(np.mean(proxy[g])) for g in wanted] if plan.proxy_level else []
    return Look(rollouts[0].step, np.array([np.mean(gold[g]) for g in wanted]), np.array(proxy_N))


def mean_of(scores: Sequence[tuple[str, float]], level: float, top: float) -> Estimate | None:
    """The mean of (prompt, score of 0 to `top`), with a t interval on the number of prompts; None without any.

    The variance is that of a mean over clusters, linearised. Of fewer than FEW prompts, or where nothing differs, it
    says too little: a share u = 1 - (alpha/2)^(1/n) of all prompts may score anything and still be unseen.

    >>> found = mean_of([(str(i), 2.0) for i in range(10)], 0.95, 9)
    >>> found.value, round(found.low, 2), round(found.high, 2)
    (2.0, 1.38, 4.16)
    """
    if not scores:
        return None
    values = np.array([x for _, x in scores], float)
    mean, by_group = float(values.mean()), defaultdict[str, float](float)
    for group, x in scores:
        by_group[group] += x - mean
    count = len(by_group)
    variance = count / max(count - 1, 1) * sum(r * r for r in by_group.values()) / len(values) ** 2
    half = float(special.stdtrit(max(count - 1, 1), 0.5 + level / 2)) * variance**0.5
    low, high = max(mean - half, 0.0), min(mean + half, top)
    if count < FEW or variance < 1e-12:
        unseen = 1 - ((1 - level) / 2) ** (1 / count)
        low, high = min(low, mean - mean * unseen), max(high, mean + (top - mean) * unseen)
    return Estimate(mean, low, high)


def divergence(first: StepAudit, now: StepAudit) -> float | None:
    """How much further the proxy has risen since the first audit than gold, in standard deviations of the first."""
    if first.proxy is None or now.proxy is None or first.gold is None or now.gold is None:
        return None
    if not first.proxy_sd or not first.gold_sd:
        return None
    rise = (now.proxy.value - first.proxy.value) / first.proxy_sd
    return rise - (now.gold.value - first.gold.value) / first.gold_sd


def rank(both_N2: Floats) -> float | None:
    """Spearman's correlation; None where one of the two gives everything the same score."""
    if len(both_N2) < 3 or np.ptp(both_N2, axis=0).min() == 0:
        return None
    return float(stats.spearmanr(both_N2).statistic)


def repeated(texts: Iterable[Sequence[str]], n: int) -> float | None:
    """Mean share of a text's n-grams that it has had before; None where no text has any.

    >>> repeated(["a b a b a".split()], 2)
    0.5
    """
    counted = [(len(set(grams)), len(grams)) for grams in (_grams(t, n) for t in texts) if grams]
    return float(np.mean([1 - kinds / count for kinds, count in counted])) if counted else None


def distinct(texts: Iterable[Sequence[str]], n: int) -> float | None:
    """Distinct n-grams of the texts together, over all of them; None for fewer than two texts with any."""
    found = [grams for grams in (_grams(t, n) for t in texts) if grams]
    if len(found) < 2:
        return None
    return len(set().union(*found)) / sum(map(len, found))


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _sd(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _distance(known: Sequence[tuple[int | None, float | None, float | None]]) -> float | None:
    whole = [(t, s - p) for t, s, p in known if t and s is not None and p is not None]
    return float(sum(ratio for _, ratio in whole) / sum(t for t, _ in whole)) if whole else None
