"""How often the alarm is false, and how late it is when it is true, on simulated runs: `python -m bench.alarm_power`.

Everything here is simulated: paths of the mean gold and proxy score are set, scores of 0 to 9 are drawn around them
(sd 2; prompts differ, and gold and proxy of one response correlate). A run is 300 steps; every 5 steps 16 prompts are
audited, one rollout each by gold, all 8 rollouts of the prompt by the proxy. Rules set side by side:

    alarm    adjudge.lab.alarm with its defaults
    gap 1, 2 the proxy's mean less gold's has grown by 1 (2) points from the first four looks to the last four
    t-test   Welch, 5 %, at each look: gold of the last four looks is below its best earlier four, and proxy is above

Delays count from the true onset (gold's peak). With onset unknown it is drawn for each run. About five minutes.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from adjudge.lab import alarm
from adjudge.metrics import wilson

STEPS, EVERY, PROMPTS, GROUP = 300, 5, 16, 8
AT = np.arange(0, STEPS, EVERY)
BLOCK = 4
SPREAD = 4.0  # of the beta that scores are drawn from: sd 2 in the middle
SAME_PROMPT = 0.4  # share of variance that the rollouts of one prompt have in common
Path = tuple[np.ndarray, np.ndarray]


class Kind(NamedTuple):
    """`paths`: rng -> (gold's means, proxy's means, onset step); `r`: correlation of gold and proxy of one response;
    `feedback`: share of what a look shows too much or too little that moves all later means."""

    name: str
    paths: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray, float]]
    r: float = 0.85
    feedback: float = 0.0


def _at(knots, gold, proxy, onset: float = np.inf):
    return np.interp(AT, knots, gold), np.interp(AT, knots, proxy), onset


def _wander(rng: np.random.Generator, sd: float, keep: float = 0.9) -> np.ndarray:
    shocks, path = rng.normal(0, sd * (1 - keep**2) ** 0.5, len(AT)), np.empty(len(AT))
    level = rng.normal(0, sd)
    for i, shock in enumerate(shocks):
        level = keep * level + shock
        path[i] = level
    return path


def _together(_):
    return _at([0, 150, 300], [3.2, 5.4, 5.8], [3.5, 5.8, 6.2])


def _saturating(rng):
    gold, proxy, onset = _at([0, 60, 300], [3.0, 5.0, 5.0], [3.5, 5.6, 6.2])
    return gold, proxy + _wander(rng, 0.1), onset


def _harder(rng):
    gold, proxy, onset = _together(rng)
    common = 0.8 * np.sin(AT / 30 + rng.uniform(0, 6)) + _wander(rng, 0.4)
    return gold + common, proxy + common, onset


def _autocorrelated(rng):
    gold, proxy, onset = _saturating(rng)
    common = _wander(rng, 0.4)
    return gold + common + _wander(rng, 0.15), proxy + common + _wander(rng, 0.15), onset


def _prototype(_):
    return _at([0, 40, 140], [3.0, 3.9, 2.3], [4.0, 6.9, 7.2], 40)


def _late(rng):
    onset = float(rng.integers(20, 150))
    return _at([0, onset, onset + 60, 300], [3.0, 4.5, 3.0, 2.5], [4.0, 6.0, 7.0, 7.4], onset)


HONEST = (
    Kind("both rise", _together),
    Kind("both flat", lambda _: _at([0, 300], [4.0, 4.0], [4.5, 4.5])),
    Kind("gold saturates, proxy creeps", _saturating),
    Kind("both rise, noisy judge (r = .6)", _together, r=0.6),
    Kind("prompts' difficulty drifts", _harder),
    Kind("autocorrelated steps", _autocorrelated),
    Kind("policy follows the noise seen", _saturating, feedback=0.3),
    Kind("edge: gold slips by the margin", lambda _: _at([0, 60, 90, 300], [3.5, 5.0, 4.73, 4.73], [4, 6, 7, 8])),
    Kind("both rise, the proxy twice as far", lambda _: _at([0, 200, 300], [3.0, 5.0, 5.2], [3.0, 7.0, 7.4])),
    Kind("edge: gold gains only a third", lambda _: _at([0, 150, 300], [3.0, 4.2, 4.5], [3.0, 6.6, 7.5])),
)
HACKED = (
    Kind("prototype: peak 3.9 at 40, 2.3 at 140", _prototype),
    Kind("steeper: 3.5 at 20, 1.1 at 100", lambda _: _at([0, 20, 100], [3.2, 3.5, 1.1], [4.1, 5.5, 7.2], 20)),
    Kind("slow: 4.5 at 60, 3.0 at 260", lambda _: _at([0, 60, 260], [3.0, 4.5, 3.0], [4.0, 6.0, 7.2], 60)),
    Kind("onset unknown (20 to 150), -1.5 in 60", _late),
    Kind("gold never rises, proxy does", lambda _: _at([0, 100, 300], [3.5, 3.5, 3.5], [4.0, 7.0, 7.4], 0)),
    Kind("prototype, noisy judge (r = .6)", _prototype, r=0.6),
)


def looks(rng: np.random.Generator, kind: Kind, paths: Path) -> Iterator[alarm.Look]:
    """The audits of one run. Means are exact: gold is rounded up or down by chance."""
    moved = 0.0
    for i, step in enumerate(AT):
        prompt = rng.normal(size=(PROMPTS, 1))
        own = SAME_PROMPT**0.5 * prompt + (1 - SAME_PROMPT) ** 0.5 * rng.normal(size=(PROMPTS, GROUP))
        seen = kind.r * own + (1 - kind.r**2) ** 0.5 * rng.normal(size=(PROMPTS, GROUP))
        gold, proxy = (np.clip(path[i] + moved, 0.3, 8.7) for path in paths)
        gold_N = np.floor(_scores(own[:, 0], gold) + rng.random(PROMPTS)).clip(0, 9)
        yield alarm.Look(int(step), gold_N, _scores(seen, proxy).mean(axis=1))
        moved += kind.feedback * (gold_N.mean() - gold)


def _scores(latent: np.ndarray, mean: float) -> np.ndarray:
    share = mean / 9
    return 9 * special.betaincinv(SPREAD * share, SPREAD * (1 - share), special.ndtr(latent))


def our_alarm(run: list[alarm.Look]) -> float:
    problem = alarm.Problem(looks=len(AT))
    state = alarm.init(problem)
    for look in run:
        state = alarm.step(problem, state, look)
        if state.verdict.raised:
            return look.step
    return np.inf


def gap_rule(run: list[alarm.Look], points: float) -> float:
    gaps = np.array([look.proxy_N.mean() - look.gold_N.mean() for look in run])
    for t in range(2 * BLOCK, len(run) + 1):
        if gaps[t - BLOCK : t].mean() - gaps[:BLOCK].mean() > points:
            return run[t - 1].step
    return np.inf


def t_test(run: list[alarm.Look]) -> float:
    for t in range(2 * BLOCK, len(run) + 1):
        best = max(range(t - 2 * BLOCK + 1), key=lambda s: np.mean([look.gold_N for look in run[s : s + BLOCK]]))
        then, now = run[best : best + BLOCK], run[t - BLOCK : t]
        fell = _welch([look.gold_N for look in now], [look.gold_N for look in then])
        rose = _welch([look.proxy_N for look in then], [look.proxy_N for look in now])
        if max(fell, rose) < 0.05:
            return run[t - 1].step
    return np.inf


def _welch(lower: list[np.ndarray], higher: list[np.ndarray]) -> float:
    """One-sided p that the first has the lower mean."""
    return float(stats.ttest_ind(np.ravel(lower), np.ravel(higher), equal_var=False, alternative="less").pvalue)


RULES: dict[str, Callable[[list[alarm.Look]], float]] = {
    "alarm": our_alarm,
    "gap 1": lambda run: gap_rule(run, 1.0),
    "gap 2": lambda run: gap_rule(run, 2.0),
    "t-test": t_test,
}


def simulate(kind: Kind, runs: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Onset of each run, and the step at which each rule spoke (inf: never)."""
    onsets, spoke = np.empty(runs), {name: np.empty(runs) for name in RULES}
    for i in range(runs):
        rng = np.random.default_rng([seed, i])
        gold, proxy, onsets[i] = kind.paths(rng)
        run = list(looks(rng, kind, (gold, proxy)))
        for name, rule in RULES.items():
            spoke[name][i] = rule(run)
    return onsets, spoke


def _percent(count: int, n: int) -> str:
    interval = wilson(count / n, n, 0.95)
    return f"{100 * interval.value:5.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--honest", type=int, default=150, help="runs of each honest kind")
    parser.add_argument("--hacked", type=int, default=60, help="runs of each hacked kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    print(f"SIMULATED. {STEPS} steps, an audit of {PROMPTS} gold calls every {EVERY} steps, seed {options.seed}.")
    print(f"\nHonest runs that raise an alarm, of {options.honest} (95 % interval)")
    print(f"{'':38}" + "".join(f"{name:>26}" for name in RULES))
    for kind in HONEST:
        _, spoke = simulate(kind, options.honest, options.seed)
        cells = [_percent(int(np.isfinite(at).sum()), options.honest) for at in spoke.values()]
        print(f"{kind.name:38}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
    print(
        f"\nHacked runs, {options.hacked} each: steps from onset to alarm, median (quartiles); gold calls; share caught"
    )
    for kind in HACKED:
        onsets, spoke = simulate(kind, options.hacked, options.seed + 1)
        print(kind.name)
        for name, at in spoke.items():
            print(f"    {name:8}{_delays(onsets, at)}", flush=True)
    print(f"\n{time.monotonic() - start:.0f} s")


def _delays(onsets: np.ndarray, at: np.ndarray) -> str:
    early = at < onsets
    late = np.where(early, np.inf, at - onsets)
    low, middle, high = (f"{q:.0f}" if np.isfinite(q) else "never" for q in np.sort(late)[_places(len(late))])
    calls = "" if middle == "never" else f"{PROMPTS * float(middle) / EVERY:6.0f} calls"
    caught, n = int(np.isfinite(late).sum()), len(at)
    return f"{middle:>6} ({low} to {high}){calls}; {100 * caught / n:.0f} %, before onset {100 * early.mean():.0f} %"


def _places(n: int) -> list[int]:
    return [n // 4, n // 2, (3 * n) // 4]


if __name__ == "__main__":
    main()
