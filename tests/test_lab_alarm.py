"""The alarm: what its evidence may be when nothing is wrong, and that it speaks when something is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.errors import ConfigError, DataError
from adjudge.lab.audit import alarm, betting

PROMPTS = 24


def draws(rng, mean: float, count: int) -> np.ndarray:
    """Scores 0 to 9 with exactly this mean."""
    return np.floor(9 * rng.beta(4 * mean / 9, 4 * (1 - mean / 9), count) + rng.random(count)).clip(0, 9)


def run(gold, proxy, *, seed: int = 0, prompts: int = PROMPTS, **settings) -> alarm.State:
    """The alarm over looks at steps 0, 5, 10 .., one per mean."""
    rng = np.random.default_rng(seed)
    problem = alarm.Problem(looks=len(gold), **settings)
    state = alarm.init(problem)
    for i, (g, p) in enumerate(zip(gold, proxy, strict=True)):
        state = alarm.step(problem, state, alarm.Look(5 * i, draws(rng, g, prompts), draws(rng, p, prompts)))
    return state


def brute(reference, recent, margin: float) -> float:
    """min over m of capital_R(m + margin) capital_A(m), bet by bet and point by point."""
    lowest = np.inf
    for m in np.linspace(0.0005, 0.9995, 1500):
        c = min(m + margin, 1)
        up = np.mean([np.prod([1 + u * (x - c) / c for x in reference]) for u in betting.BETS])
        down = np.mean([np.prod([1 + u * (m - x) / (1 - m) for x in recent]) for u in betting.BETS])
        lowest = min(lowest, np.log(up) + np.log(down))
    return lowest


def evidence(reference, recent, margin: float) -> float:
    before, _ = betting.gains(np.array(reference), margin)
    _, after = betting.gains(np.array(recent), margin)
    return float(betting.log_evidence(betting.log_mixture(before)[None], betting.log_mixture(after)[None])[0, 0])


@pytest.mark.parametrize("margin", [0.0, 0.03, 0.3])
def test_evidence_is_the_least_capital_over_all_levels_and_never_above_it(margin):
    rng = np.random.default_rng(3)
    reference, recent = rng.beta(6, 4, 20), rng.beta(3, 7, 15)
    exact, bound = brute(reference, recent, margin), evidence(reference, recent, margin)
    assert exact - 0.05 < bound <= exact + 1e-5


def test_evidence_gains_nothing_on_average_at_the_edge_of_the_null():
    """A tenth beyond the edge the same average is over 2, so this would show."""
    rng = np.random.default_rng(0)
    at_edge = [np.exp(evidence(rng.beta(5.3, 4.7, 15), rng.beta(5, 5, 15), 0.03)) for _ in range(1500)]
    assert np.mean(at_edge) < 1 + 2 * np.std(at_edge) / len(at_edge) ** 0.5
    beyond = [np.exp(evidence(rng.beta(6.3, 3.7, 15), rng.beta(5, 5, 15), 0.03)) for _ in range(1500)]
    assert np.mean(beyond) > 2


@given(st.lists(st.floats(0, 1), max_size=12), st.lists(st.floats(0, 1), max_size=12), st.floats(0, 0.2))
def test_evidence_falls_when_the_margin_grows_and_is_nothing_without_values(reference, recent, margin):
    assert evidence(reference, recent, margin + 0.1) <= evidence(reference, recent, margin) + 0.15
    assert evidence([], recent, margin) <= 1e-9
    assert evidence(reference, [], margin) <= 1e-9


@given(looks=st.integers(1, 90), block=st.integers(1, 9), end=st.integers(1, 120))
def test_the_prior_over_blocks_and_starts_adds_up_to_one_at_most(looks, block, end):
    problem = alarm.Problem(looks=looks, block=block)
    starts = list(range(block, end, block))
    for references in (alarm._blocks(block, end), alarm._openings(block, end)):
        if starts and references:
            weights = np.exp(alarm._log_weights(problem, references, starts))
            assert weights.sum() <= 1 + 1e-9


def test_a_run_in_which_both_rise_raises_no_alarm():
    up = np.linspace(3, 6, 40)
    assert not any(run(up, up + 1, seed=seed).verdict.raised for seed in range(12))


def test_gold_that_stays_level_while_the_proxy_rises_is_no_fall():
    gold = np.concatenate([np.linspace(3, 5, 10), np.full(30, 5.0)])
    for seed in range(8):
        state = run(gold, np.linspace(3.5, 8, 40), seed=seed)
        assert not state.verdict.raised


def test_prompts_that_grow_harder_for_both_raise_no_alarm():
    easier = 1.5 * np.sin(np.arange(40) / 4)
    for seed in range(8):
        assert not run(4.5 + easier, 5 + easier, seed=seed).verdict.raised


def test_gold_that_falls_from_its_peak_while_the_proxy_rises_raises_the_alarm_after_the_peak():
    steps = np.arange(0, 240, 5)
    gold = np.interp(steps, [0, 40, 140], [3.0, 3.9, 2.3])
    proxy = np.interp(steps, [0, 40, 140], [4.0, 6.9, 7.2])
    for seed in range(6):
        verdict = run(gold, proxy, seed=seed).verdict
        assert verdict.raised
        assert 40 < verdict.raised_at <= 200
        assert verdict.p <= 0.05
        assert verdict.finding.proxy_change > 0


def test_a_fall_below_the_best_block_is_named_with_its_blocks():
    gold = np.interp(np.arange(60), [0, 10, 25, 30], [2.0, 6.0, 6.0, 4.5])
    verdict = run(gold, np.interp(np.arange(60), [0, 60], [3.0, 8.0]), seed=1).verdict
    assert verdict.raised
    assert verdict.finding.claim == alarm.FALLEN
    assert verdict.finding.reference[1] < 5 * 30 <= verdict.finding.recent[1]
    assert verdict.finding.gold_change < -0.5
    assert verdict.finding.proxy_change > 0


def test_gold_that_falls_while_the_proxy_does_not_rise_raises_no_alarm_unless_the_proxy_has_no_level():
    gold = np.interp(np.arange(50), [0, 15, 30], [6.0, 6.0, 3.5])
    assert not run(gold, np.full(50, 5.0)).verdict.raised
    alone = run(gold, np.full(50, 5.0), proxy_top=None).verdict
    assert alone.raised
    assert alone.finding.proxy_change is None


def test_step_is_pure_and_a_look_without_values_brings_no_evidence():
    problem = alarm.Problem()
    rng = np.random.default_rng(0)
    state = run(np.full(9, 4.0), np.full(9, 4.0))
    look = alarm.Look(45, draws(rng, 4, 9), draws(rng, 5, 9))
    first, second = alarm.step(problem, state, look), alarm.step(problem, state, look)
    assert first.verdict == second.verdict
    assert len(state.looks) == 9
    empty = alarm.step(problem, state, alarm.Look(45, np.empty(0), np.empty(0)))
    assert np.array_equal(empty.before_TCUM[-1], state.before_TCUM[-1])


def test_the_order_of_prompts_and_the_unit_of_scores_do_not_matter():
    rng = np.random.default_rng(5)
    looks = [(draws(rng, 6 - i / 4, 12), draws(rng, 4 + i / 4, 12)) for i in range(14)]
    nine, one = alarm.Problem(), alarm.Problem(gold_top=1, proxy_top=1)
    a, b, c = alarm.init(nine), alarm.init(nine), alarm.init(one)
    for i, (g, p) in enumerate(looks):
        a = alarm.step(nine, a, alarm.Look(i, g, p))
        b = alarm.step(nine, b, alarm.Look(i, g[::-1], p[::-1]))
        c = alarm.step(one, c, alarm.Look(i, g / 9, p / 9))
    assert a.verdict.evidence == pytest.approx(b.verdict.evidence)
    assert a.verdict.evidence == pytest.approx(c.verdict.evidence)


def test_more_looks_than_planned_are_still_watched():
    problem = alarm.Problem(looks=6)
    rng, state = np.random.default_rng(0), alarm.init(problem)
    for i in range(60):
        gold, proxy = (7, 3) if i < 30 else (3, 7)
        state = alarm.step(problem, state, alarm.Look(i, draws(rng, gold, 12), draws(rng, proxy, 12)))
    assert 30 < state.verdict.raised_at < 60


@pytest.mark.parametrize(
    ("gold", "proxy", "says"),
    [
        ([10.0], [1.0], "gold score 10 at step 5 is outside of 0 to 9; set gold_top"),
        ([1.0], [-1.0], "proxy score -1 at step 5"),
        ([float("nan")], [1.0], "gold score nan"),
        ([1.0, 2.0], [1.0], "2 gold and 1 proxy"),
    ],
)
def test_scores_out_of_range_are_refused_by_value(gold, proxy, says):
    problem = alarm.Problem()
    with pytest.raises(DataError, match=says):
        alarm.step(problem, alarm.init(problem), alarm.Look(5, np.array(gold), np.array(proxy)))


@pytest.mark.parametrize(
    "bad", [{"level": 0}, {"looks": 0}, {"block": 0}, {"fall": -0.1}, {"share": 1}, {"gold_top": 0}]
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ConfigError):
        alarm.Problem(**bad)
