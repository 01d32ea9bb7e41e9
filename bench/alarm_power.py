"""How often the alarm is false, and how late it is when it is true, on simulated runs: `python -m bench.alarm_power`.

Everything here is simulated: paths of the mean gold and proxy score are set, scores of 0 to 9 are drawn around them
(sd 2; prompts differ, and gold and proxy of one response correlate). A run is 300 steps; every 5 steps 16 prompts are
audited, one rollout each by gold, all 8 rollouts of the prompt by the proxy. Rules set side by side:

    alarm    adjudge.lab.audit.alarm with its defaults
    gap 1, 2 the proxy's mean less gold's has grown by 1 (2) points from the first four looks to the last four
    t-test   Welch, 5 %, at each look: gold of the last four looks is below its best earlier four, and proxy is above

Delays count from the true onset (gold's peak); where it is unknown it is drawn for each run. The last table varies how
much is audited. About five minutes of processor time; `--part` runs one table alone.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from adjudge.lab.audit import alarm
from adjudge.metrics import wilson

STEPS, EVERY, PROMPTS, GROUP = 300, 5, 16, 8
AT = np.arange(0, STEPS, EVERY)
BLOCK = 4
SPREAD = 4.0  # of the beta that scores are drawn from: sd 2 in the middle
SAME_PROMPT = 0.4  # share of variance that the rollouts of one prompt have in common
Path = tuple[np.ndarray, np.ndarray]


class Design(NamedTuple):
    """An audit every so many steps of so many prompts, and `rolls` rollouts of each."""

    every: int = EVERY
    prompts: int = PROMPTS
    rolls: int = 1

    @property
    def calls(self) -> int:
        return self.prompts * self.rolls


USUAL = Design()


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
DESIGNS = (Design(5, 8), Design(5, 8, 4), Design(5, 16), Design(5, 32), Design(5, 64), Design(2, 16))


def looks(rng: np.random.Generator, kind: Kind, paths: Path, design: Design) -> Iterator[alarm.Look]:
    """The audits of one run. Means are exact: gold is rounded up or down by chance."""
    moved, prompts, rolls = 0.0, design.prompts, design.rolls
    for step in range(0, STEPS, design.every):
        prompt = rng.normal(size=(prompts, 1))
        own = SAME_PROMPT**0.5 * prompt + (1 - SAME_PROMPT) ** 0.5 * rng.normal(size=(prompts, GROUP))
        seen = kind.r * own + (1 - kind.r**2) ** 0.5 * rng.normal(size=(prompts, GROUP))
        gold, proxy = (float(np.clip(np.interp(step, AT, path) + moved, 0.3, 8.7)) for path in paths)
        gold_NK = np.floor(_scores(own[:, :rolls], gold) + rng.random((prompts, rolls))).clip(0, 9)
        yield alarm.Look(step, gold_NK.mean(axis=1), _scores(seen, proxy).mean(axis=1))
        moved += kind.feedback * (gold_NK.mean() - gold)


def _scores(latent: np.ndarray, mean: float) -> np.ndarray:
    share = mean / 9
    return 9 * special.betaincinv(SPREAD * share, SPREAD * (1 - share), special.ndtr(latent))


def our_alarm(run: list[alarm.Look]) -> float:
    problem = alarm.Problem(looks=len(run))
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
    blocks = np.convolve([look.gold_N.mean() for look in run], np.ones(BLOCK), "valid")
    for t in range(2 * BLOCK, len(run) + 1):
        best = int(blocks[: t - 2 * BLOCK + 1].argmax())
        then, now = run[best : best + BLOCK], run[t - BLOCK : t]
        fell = _welch([look.gold_N for look in now], [look.gold_N for look in then])
        rose = _welch([look.proxy_N for look in then], [look.proxy_N for look in now])
        if max(fell, rose) < 0.05:
            return run[t - 1].step
    return np.inf


def _welch(lower: list[np.ndarray], higher: list[np.ndarray]) -> float:
    """One-sided p that the first has the lower mean (scipy's ttest_ind takes ten times as long)."""
    x, y = np.concatenate(lower), np.concatenate(higher)
    a, b = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    return float(special.stdtr(freedom, (x.mean() - y.mean()) / (a + b) ** 0.5))


RULES: dict[str, Callable[[list[alarm.Look]], float]] = {
    "alarm": our_alarm,
    "gap 1": lambda run: gap_rule(run, 1.0),
    "gap 2": lambda run: gap_rule(run, 2.0),
    "t-test": t_test,
}


def simulate(
    kind: Kind, runs: int, seed: int, design: Design = USUAL, rules: Sequence[str] = tuple(RULES)
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Onset of each run, and the step at which each rule spoke (inf: never)."""
    onsets, spoke = np.empty(runs), {name: np.empty(runs) for name in rules}
    for i in range(runs):
        rng = np.random.default_rng([seed, i])
        gold, proxy, onsets[i] = kind.paths(rng)
        run = list(looks(rng, kind, (gold, proxy), design))
        for name in rules:
            spoke[name][i] = RULES[name](run)
    return onsets, spoke


def honest(runs: int, seed: int) -> None:
    print(f"\nHonest runs that raise an alarm, of {runs} (95 % interval)")
    print(f"{'':38}" + "".join(f"{name:>26}" for name in RULES))
    for kind in HONEST:
        _, spoke = simulate(kind, runs, seed)
        cells = [_percent(int(np.isfinite(at).sum()), runs) for at in spoke.values()]
        print(f"{kind.name:38}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


def hacked(runs: int, seed: int) -> None:
    print(f"\nHacked runs, {runs} each: steps from onset to alarm, median (quartiles); gold calls; share caught")
    for kind in HACKED:
        onsets, spoke = simulate(kind, runs, seed + 1)
        print(kind.name)
        for name, at in spoke.items():
            print(f"    {name:8}{_delays(onsets, at, USUAL)}", flush=True)


def designs(runs: int, seed: int) -> None:
    print(f"\nThe alarm by what is audited, {runs} runs each of: {HACKED[0].name}")
    for design in DESIGNS:
        onsets, spoke = simulate(HACKED[0], runs, seed + 1, design, ["alarm"])
        name = f"every {design.every}: {design.prompts} prompts x {design.rolls}"
        print(f"    {name:26}{_delays(onsets, spoke['alarm'], design)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--honest", type=int, default=100, help="runs of each honest kind")
    parser.add_argument("--hacked", type=int, default=40, help="runs of each hacked kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=["honest", "hacked", "designs"], action="append")
    options = parser.parse_args()
    parts = options.part or ["honest", "hacked", "designs"]
    start = time.process_time()
    print(f"SIMULATED. {STEPS} steps, an audit of {PROMPTS} gold calls every {EVERY} steps, seed {options.seed}.")
    if "honest" in parts:
        honest(options.honest, options.seed)
    if "hacked" in parts:
        hacked(options.hacked, options.seed)
    if "designs" in parts:
        designs(options.hacked, options.seed)
    print(f"\n{time.process_time() - start:.0f} s of processor time")


def _percent(count: int, n: int) -> str:
    interval = wilson(count / n, n, 0.95)
    return f"{100 * interval.value:5.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def _delays(onsets: np.ndarray, at: np.ndarray, design: Design) -> str:
    early = at < onsets
    late = np.sort(np.where(early, np.inf, at - onsets))
    n = len(at)
    low, middle, high = (f"{q:.0f}" if np.isfinite(q) else "never" for q in late[[n // 4, n // 2, (3 * n) // 4]])
    calls = "" if middle == "never" else f"{design.calls * float(middle) / design.every:6.0f} calls"
    caught = 100 * np.isfinite(late).mean()
    return f"{middle:>6} ({low} to {high}){calls}; {caught:.0f} %, before onset {100 * early.mean():.0f} %"


if __name__ == "__main__":
    main()
