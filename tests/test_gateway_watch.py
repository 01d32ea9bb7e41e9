"""What a gateway says of itself: counts by second and minute, drift, audits, labels, each counted by hand."""

import asyncio
import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from adjudge.errors import CapReached
from adjudge.gateway.desk import Judged
from adjudge.gateway.problems import Problem
from adjudge.gateway.watch.audit import WAITING, Audit, dearest, drawn
from adjudge.gateway.watch.counts import Part, both_orders, parts
from adjudge.gateway.watch.drift import DEFAULT_NATS, DriftWatch, radius_of
from adjudge.gateway.watch.monitor import LATEST, Monitor
from adjudge.gateway.watch.quality import KEPT, Audited, Known, Labelled, quality
from adjudge.gateway.watch.steps import Steps
from adjudge.routing.drift import reference
from adjudge.types import Call, Judgment, Outcome, Pair

A, B, TIE, UNREAD = Outcome.A, Outcome.B, Outcome.TIE, Outcome.UNREAD
CALL = Call(kind="verdict", arm="cheap")


def judged(key="k", arm="cheap", outcome=A, calls=(CALL,), **more):
    return Judged(key=key, arm=arm, judgment=Judgment(arm=arm, ab=outcome, calls=calls, **more))


# -- steps


def told(steps, since=0):
    return [(step.t, step.v) for step in steps.since(since)]


def test_growth_adds_up_within_a_step_and_levels_are_those_of_its_end():
    steps = Steps(60, 10)
    steps.enter(120.0, {0: 1.0}, {5: 0.1})
    steps.enter(179.9, {0: 2.0, 1: 1.0}, {5: 0.2})
    steps.enter(180.0, {0: 4.0}, {5: 0.3})
    assert told(steps) == [(120, {0: 3.0, 1: 1.0, 5: 0.2}), (180, {0: 4.0, 5: 0.3})]
    assert told(steps, 180) == [(180, {0: 4.0, 5: 0.3})]


def test_where_nothing_happens_nothing_is_kept():
    steps = Steps(1, 10)
    for second in range(100, 105):
        steps.enter(second, {}, {5: 0.1})
    assert told(steps) == [(100, {5: 0.1})]


def test_a_clock_that_is_set_back_goes_on_with_the_last_step():
    steps = Steps(1, 10)
    steps.enter(100.0, {0: 1.0}, {})
    steps.enter(95.0, {0: 1.0}, {})
    assert told(steps) == [(100, {0: 2.0})]


@given(st.lists(st.integers(0, 400), min_size=1, max_size=60), st.integers(1, 20))
def test_only_the_last_steps_are_kept_and_nothing_of_theirs_is_lost(seconds, kept):
    steps = Steps(1, kept)
    seconds = sorted(seconds)
    for second in seconds:
        steps.enter(second, {0: 1.0}, {})
    inside = [second for second in seconds if second > seconds[-1] - kept]
    assert sum(step.v[0] for step in steps.since(0)) == len(inside)
    assert len(steps.since(0)) <= kept


# -- monitor


class Clock:
    now_s = 6000.0

    def __call__(self):
        return self.now_s


@pytest.fixture(name="watched")
def fixture_watched():
    """(monitor, its clock, a counter by arm, a gauge, a histogram)"""
    registry, clock = CollectorRegistry(), Clock()
    bought = Counter("adjudge_judgments", "x", ["arm", "outcome"], registry=registry)
    gauge = Gauge("adjudge_multiplier", "x", registry=registry)
    took = Histogram("adjudge_judgment_seconds", "x", ["arm"], buckets=(0.1, 1.0), registry=registry)
    Counter("python_things", "not ours", registry=registry).inc()
    bought.labels("old", "A").inc(7)
    monitor = Monitor(registry, clock)
    monitor.begin()
    return monitor, clock, bought, gauge, took


def by_name(monitor, values):
    return {monitor.names[place]: value for place, value in values.items()}


def test_steps_hold_what_counters_grew_by_and_totals_what_they_are(watched):
    monitor, clock, bought, gauge, _ = watched
    bought.labels("cheap", "A").inc()
    gauge.set(0.5)
    monitor.look()
    clock.now_s += 1
    bought.labels("cheap", "A").inc(2)
    bought.labels("cheap", "B").inc()
    monitor.look()
    seconds = [by_name(monitor, step.v) for step in monitor.seconds.since(0)]
    assert seconds == [
        {("judgments", "cheap", "A"): 1.0, ("multiplier",): 0.5},
        {("judgments", "cheap", "A"): 2.0, ("judgments", "cheap", "B"): 1.0, ("multiplier",): 0.5},
    ]
    (minute,) = monitor.minutes.since(0)
    assert by_name(monitor, minute.v)["judgments", "cheap", "A"] == 3.0
    totals = by_name(monitor, monitor.totals)
    assert totals["judgments", "old", "A"] == 7.0  # from before: counted in all, in no step
    assert not any(name[0].startswith("python") for name in totals)


def test_a_histograms_buckets_are_told_each_without_those_below(watched):
    monitor, _, _, _, took = watched
    for arm, seconds in (("cheap", 0.05), ("cheap", 0.5), ("cheap", 0.6), ("cheap", 30.0), ("dear", 0.5)):
        took.labels(arm).observe(seconds)
    monitor.look()
    (step,) = monitor.seconds.since(0)
    found = {name: n for name, n in by_name(monitor, step.v).items() if name[0] == "judgment_seconds"}
    assert found == {
        ("judgment_seconds", "cheap", "0.1"): 1.0,
        ("judgment_seconds", "cheap", "1.0"): 2.0,
        ("judgment_seconds", "cheap", "+Inf"): 1.0,
        ("judgment_seconds", "dear", "1.0"): 1.0,
    }


def test_the_latest_judgments_are_bounded_and_numbered(watched):
    monitor, *_ = watched
    for i in range(LATEST + 5):
        monitor.judged(judged(key=f"{i:032x}", cost_usd=0.25), 0.1)
    assert len(monitor.latest) == LATEST
    last = monitor.latest_since(LATEST + 4)
    assert [(one.number, one.id, one.cost_usd) for one in last] == [(LATEST + 5, f"jdg_{LATEST + 4:032x}", 0.25)]


def test_the_latest_judgments_hold_no_texts(watched):
    monitor, *_ = watched
    calls = (msgspec.structs.replace(CALL, text="SECRET", reasoning="SECRET"),)
    monitor.judged(judged(calls=calls, completion_ab="SECRET", error="SECRET"), 0.1)
    assert b"SECRET" not in msgspec.json.encode(list(monitor.latest))


# -- parts


def routed(*bought, key="k", outcome=A, **more):
    extra = {"route": {"bought": [{"arm": a, "order": o, "outcome": v, "cost": 1.0} for a, o, v in bought], "rung": 2}}
    return judged(key=key, arm="route:r", outcome=outcome, extra=extra, **more)


def test_a_judgment_is_told_in_its_parts():
    assert parts(routed(("cheap", "ab", "A"), ("dear", "ba", "B"))) == [
        Part("cheap", "A", "ab"),
        Part("dear", "B", "ba"),
    ]
    both = Judged(key="k", arm="x", judgment=Judgment(arm="x", ab=A, ba=UNREAD))
    assert parts(both) == [Part("x", "A", "ab"), Part("x", "unread", "ba")]


def test_both_orders_agree_only_where_one_arm_gave_a_verdict_in_each():
    found = [Part("x", "A", "ab"), Part("x", "A", "ba"), Part("y", "A", "ab"), Part("y", "B", "ba")]
    found += [Part("z", "A", "ab"), Part("z", "unread", "ba"), Part("w", "A", None), Part("w", "A", None)]
    assert both_orders(found) == {"x": True, "y": False}


# -- drift


@pytest.fixture(name="fitted", scope="module")
def fixture_fitted():
    return reference(np.random.default_rng(0).normal(size=(500, 4)))


def drifting(fitted, radius=0.1):
    from adjudge.gateway.watch.drift import Radius

    clock, changes = Clock(), []
    return DriftWatch(fitted, Radius(radius, True), changes.append, clock), clock, changes


def test_traffic_like_the_fitting_data_raises_no_alarm(fitted):
    watch, _, changes = drifting(fitted)
    watch.saw(np.random.default_rng(1).normal(size=(800, 4)))
    watch.look()
    assert watch.state.shift.least < 0.02
    assert watch.state.since_s is None
    assert changes == []


def test_an_alarm_is_raised_once_and_cleared_when_traffic_comes_back(fitted):
    watch, clock, changes = drifting(fitted)
    rng = np.random.default_rng(1)
    watch.saw(rng.normal(size=(600, 4)) + 1.0)
    watch.look()
    assert watch.state.shift.least > 0.5  # a shift by one deviation in each of four is 4 / 2 = 2 nats of a normal
    assert watch.state.since_s == clock.now_s
    since = clock.now_s
    clock.now_s += 60
    watch.saw(rng.normal(size=(50, 4)) + 1.0)
    watch.look()
    assert watch.state.since_s == since  # still the same alarm
    watch.saw(rng.normal(size=(6000, 4)))
    watch.look()
    assert watch.state.since_s is None
    assert [change.since_s is not None for change in changes] == [True, False]


def test_a_handful_of_pairs_raises_no_alarm_however_far_they_are(fitted):
    watch, _, changes = drifting(fitted)
    watch.saw(np.full((5, 4), 3.0))
    watch.look()
    assert changes == []


def test_features_may_come_from_many_threads_and_none_is_lost(fitted):
    watch, *_ = drifting(fitted)
    row = np.zeros((1, 4))
    threads = [threading.Thread(target=lambda: [watch.saw(row) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.look()
    weight = sum((1 - 1 / 1000) ** i for i in range(800))
    assert watch.state.shift.pairs == pytest.approx(weight**2 / sum((1 - 1 / 1000) ** (2 * i) for i in range(800)))


@pytest.mark.parametrize(
    ("radii", "nats", "given_for"),
    [
        ({"reward": 0.3, "cost": None}, 0.3, True),
        ({"reward": 0.3, "cost": 0.2}, 0.2, True),
        ({"reward": None, "cost": 0.0}, DEFAULT_NATS, False),
        ({}, DEFAULT_NATS, False),
    ],
)
def test_the_radius_is_the_smaller_one_of_the_fit_or_the_default(radii, nats, given_for):
    class Card:
        pass

    card = Card()
    card.radii = radii
    assert radius_of(card) == (nats, given_for)


# -- audits


def test_the_draw_is_of_the_share_and_the_same_for_the_same_judgment():
    keys = [f"{i:032x}" for i in range(5000)]
    taken = [key for key in keys if drawn(key, 0.1)]
    assert 420 < len(taken) < 580  # 500, within 4 deviations
    assert taken == [key for key in keys if drawn(key, 0.1)]
    assert set(taken) < {key for key in keys if drawn(key, 0.2)}
    assert not any(drawn(key, 0.0) for key in keys)
    assert all(drawn(key, 1.0) for key in keys)


def auditing(answers, *, idle=lambda: True):
    """(audit, what was found, how many were asked at once at most)"""
    found, under_way, most = [], [0], [0]

    async def judge(pair):
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(0)
        under_way[0] -= 1
        said = answers[pair.id]
        if isinstance(said, Exception):
            raise said
        return judged(arm="dear", outcome=said, cost_usd=0.1)

    return Audit(1.0, judge, idle, lambda key, audited: found.append((key, audited))), found, most


def test_audits_come_one_at_a_time_and_what_cannot_be_bought_is_left_out():
    async def work():
        answers = {"0": A, "1": B, "2": CapReached("", "all", None), "3": Problem(503, "upstream_down", "x"), "4": TIE}
        audit, found, most = auditing(answers)
        running = asyncio.ensure_future(audit.run())
        for name in answers:
            audit.offer(Pair(id=name), judged(key=name, outcome=A, cost_usd=0.01))
        while len(found) < len(answers):  # noqa: ASYNC110 -- what is tested tells nobody when it is done
            await asyncio.sleep(0.001)
        running.cancel()
        assert most == [1]
        assert found == [
            ("0", Audited(A, A, 0.01, 0.1)),
            ("1", Audited(A, B, 0.01, 0.1)),
            ("2", None),
            ("3", None),
            ("4", Audited(A, TIE, 0.01, 0.1)),
        ]

    asyncio.run(work())


def test_nothing_is_audited_while_there_is_no_room_and_the_line_is_bounded():
    async def work():
        busy = [True]
        audit, found, _ = auditing({"p": A}, idle=lambda: not busy[0])
        running = asyncio.ensure_future(audit.run())
        for i in range(WAITING + 3):
            audit.offer(Pair(id="p"), judged(key=str(i)))
        await asyncio.sleep(0.12)
        assert audit.waiting == WAITING
        assert [audited for _, audited in found] == [None] * 3
        busy[0] = False
        while audit.waiting:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(work())


def test_the_dearest_arm_is_that_of_the_dearest_purchase():
    class Card:
        purchases = (("cheap", 0, None), ("dear", 0, None), ("cheap", 1, None))
        mean_costs = (1.0, 7.0, 2.0)

    assert dearest(Card()) == "dear"


# -- quality


def test_agreement_and_the_bound_on_regret_are_counted_by_hand():
    audits = [Audited(A, A, 0.1, 1.0)] * 6 + [Audited(A, B, 0.1, 1.0)] * 2 + [Audited(TIE, A, 0.1, 1.0)] * 2
    audits += [Audited(UNREAD, A, 0.1, 1.0), Audited(A, UNREAD, None, 1.0)]
    found = quality(audits, [], [])
    assert found.audits == 12
    assert (found.agreement.n, found.agreement.value) == (10, 0.6)
    assert found.regret_most.value == pytest.approx((2 + 2 * 0.5) / 10)
    assert found.saved == pytest.approx(1 - 11 * 0.1 / 11)
    # Wilson's interval of 6 of 10, as statsmodels.stats.proportion.proportion_confint gives it
    assert (found.agreement.low, found.agreement.high) == (
        pytest.approx(0.3127, abs=1e-4),
        pytest.approx(0.8318, abs=1e-4),
    )


def test_labels_give_accuracy_by_arm_and_the_last_one_given_counts():
    known = Known()
    known.labelled("1", Labelled("x", A, "A"))
    known.labelled("2", Labelled("x", A, "A"))
    known.labelled("3", Labelled("x", TIE, "B"))
    known.labelled("4", Labelled("x", UNREAD, "B"))
    known.labelled("5", Labelled("y", B, "B"))
    assert {arm: (s.n, s.value) for arm, s in known.figures().accuracy.items()} == {"x": (4, 2.5 / 4), "y": (1, 1.0)}
    known.labelled("2", Labelled("x", A, "B"))
    assert known.figures().accuracy["x"].value == 1.5 / 4


def test_where_an_audited_judgment_is_labelled_the_loss_itself_is_known():
    known = Known()
    for key, mine, dear, gold in (("1", A, A, "A"), ("2", B, A, "A"), ("3", B, A, "B"), ("4", TIE, A, "A")):
        known.audited(key, Audited(mine, dear, None, None))
        known.labelled(key, Labelled("r", mine, gold))
    known.audited("5", Audited(A, B, None, None))
    found = known.figures().regret_labelled
    assert (found.n, found.value) == (4, pytest.approx((0 + 1 - 1 + 0.5) / 4))
    assert found.low < found.value < found.high


def test_audits_and_labels_are_bounded():
    known = Known()
    for i in range(KEPT + 50):
        known.audited(str(i), Audited(A, A, None, None))
        known.labelled(str(i), Labelled("x", A, "A"))
    figures = known.figures()
    assert (figures.audits, figures.accuracy["x"].n, figures.regret_labelled.n) == (KEPT, KEPT, KEPT)


def test_a_result_says_what_became_of_it():
    audits = [Audited(*both, None, None).result for both in ((A, A), (A, TIE), (B, A), (UNREAD, A))]
    assert audits == ["same", "tie", "other", "no_verdict"]
    labels = [Labelled("x", outcome, "A").result for outcome in (A, TIE, B, UNREAD)]
    assert labels == ["right", "tie", "wrong", "no_verdict"]
