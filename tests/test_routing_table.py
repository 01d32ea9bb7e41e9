"""Records become a table of purchases: hand counts, laws, and the figures published with the recorded judgments."""

from functools import cache

import msgspec
import numpy as np
import pytest

from adjudge.errors import DataError
from adjudge.routing.baselines.oracle import ceiling
from adjudge.routing.router import bundle_table
from adjudge.routing.strength import LEAST, ratings, strength
from adjudge.routing.table import Purchase, Table, tabulate
from adjudge.types import Judgment, Outcome, Pair, Record, reward
from tests.test_published_figures import DATA, HEADROOM_TABLE, SETS, recorded, rows_of

A, B, TIE, UNREAD, CUT = Outcome.A, Outcome.B, Outcome.TIE, Outcome.UNREAD, Outcome.TRUNCATED


def judged(arm: str, ab: Outcome | None, ba: Outcome | None = None, tokens: float = 10, **fields) -> Judgment:
    return Judgment(arm=arm, ab=ab, ba=ba, output_tokens=tokens, prompt_tokens=100, cost_usd=0.5, **fields)


def record(number: int, gold: str | None, *judgments: Judgment, evaluator: str = "e", **fields) -> Record:
    pair = Pair(id=f"p{number}", gold=gold, domain=f"d{number % 2}", **fields)
    return Record(pair=pair, evaluator=evaluator, judgments={j.arm: j for j in judgments})


HAND = [
    record(0, "A", judged("cheap", A, A, 10), judged("dear", A, B, 90)),
    record(1, "B", judged("cheap", TIE, B, 12), judged("dear", UNREAD, B, 110)),
    record(2, "B", judged("cheap", A, CUT, 8), judged("dear", B, TIE, 100)),
]


def accuracy(table: Table) -> np.ndarray:
    return bundle_table(table, table.bundles, np.ones(len(table.purchases)))[0].mean(axis=0)


def test_two_orders_of_two_arms_make_four_purchases_and_two_rows_an_instance():
    table = tabulate(HAND)
    assert table.purchases == (Purchase("cheap"), Purchase("cheap", 1), Purchase("dear"), Purchase("dear", 1))
    assert table.bundles == ((0,), (2,))
    assert table.instance_N.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.ids == ("p0", "p1", "p2")
    assert table.domain_N.tolist() == ["d0", "d0", "d1", "d1", "d0", "d0"]
    assert table.gold_N.tolist() == [1, 1, -1, -1, -1, -1]
    nan = np.nan
    expected = [[1, 1, 1, -1], [1, 1, -1, 1], [0, -1, nan, -1], [-1, 0, -1, nan], [1, nan, -1, 0], [nan, 1, 0, -1]]
    np.testing.assert_array_equal(table.said_NU, np.array(expected))
    assert table.cost_NU[::2].tolist() == [[10, 10, 90, 90], [12, 12, 110, 110], [8, 8, 100, 100]]


def test_the_accuracy_of_an_arm_is_a_hand_count_over_both_orders():
    # cheap: right, right; tie, right; wrong, cut off. dear: right, wrong; unread, right; right, tie.
    assert accuracy(tabulate(HAND)).tolist() == pytest.approx(
        [(1 + 1 + 0.5 + 1 + 0 + 0) / 6, (1 + 0 + 0 + 1 + 1 + 0.5) / 6]
    )


def test_the_second_order_is_charged_as_the_first_is():
    table = tabulate(HAND)
    assert table.arm_costs()[0].tolist() == [10, 90]
    bought_NU = np.tile([True, True, False, True], (len(table), 1))
    assert table.seen(bought_NU).cost_NU.sum(axis=1)[0] == 10 + 10 + 90


def test_what_was_not_bought_is_not_seen():
    table = tabulate(HAND)
    seen = table.seen(np.tile([True, False, False, False], (len(table), 1)))
    assert np.isnan(seen.said_NU[:, 1:]).all()
    assert (seen.cost_NU[:, 1:] == 0).all()
    np.testing.assert_array_equal(seen.said_NU[:, 0], table.said_NU[:, 0])


def test_an_arm_that_ran_in_one_order_is_bought_once_whichever_comes_first():
    records = [record(i, "A", judged("both", A, B), judged("once", B if i else A)) for i in range(2)]
    table = tabulate(records)
    assert [str(p) for p in table.purchases] == ["both", "both'", "once"]
    assert table.said_NU[:, 2].tolist() == [1, 1, -1, -1]


def test_costs_in_total_tokens_and_dollars_are_per_verdict():
    assert tabulate(HAND, cost_unit="total_tokens").cost_NU[0].tolist() == [110, 110, 190, 190]
    assert tabulate(HAND, cost_unit="cost_usd").cost_NU[0].tolist() == [0.25] * 4


def test_records_that_cannot_be_used_are_counted_by_reason():
    without_gold = record(7, None, *HAND[0].judgments.values())
    without_arm = record(8, "A", judged("cheap", A, A))
    without_cost = record(9, "A", judged("cheap", A, A), Judgment(arm="dear", ab=A, ba=A))
    table = tabulate([*HAND, without_gold, without_arm, without_cost], ("cheap", "dear"))
    assert table.ids == ("p0", "p1", "p2")
    assert sum(table.left_out.values()) == 3
    assert len(table.left_out) == 3


@pytest.mark.parametrize(
    ("records", "arms", "message"),
    [
        (HAND, ("cheap", "best"), "no record has arm 'best'; there are: cheap, dear"),
        (HAND, ("cheap",), "two arms or more"),
        (HAND, ("cheap", "cheap"), "named twice"),
        (
            [*HAND, record(9, "A", judged("cheap", A), evaluator="f")],
            (),
            "choose one with --evaluator: e, f",
        ),
        ([record(1, None, judged("cheap", A), judged("dear", A))], (), "no record can be used"),
    ],
)
def test_records_that_make_no_table_are_refused_with_the_remedy(records, arms, message):
    with pytest.raises(DataError, match=message):
        tabulate(records, arms)


def exchanged(of: Record) -> Record:
    """Responses a and b with each other's name. The order that showed a first is now the one that shows b first."""

    def side(outcome: Outcome | None) -> Outcome | None:
        return None if outcome is None else outcome.swapped()

    judgments = {
        arm: msgspec.structs.replace(
            j,
            ab=side(j.ba),
            ba=side(j.ab),
            completion_ab=j.completion_ba,
            completion_ba=j.completion_ab,
            p_a=None if j.p_a is None else 1 - j.p_a,
        )
        for arm, j in of.judgments.items()
    }
    return msgspec.structs.replace(of, pair=of.pair.swapped(), judgments=judgments)


SIGNED_SETS = ["llmbar", "judgebench_claude", "judgebench_qwen3_rubric", "rewardbench2_qwen"]


@pytest.mark.parametrize("name", SIGNED_SETS)
@pytest.mark.skipif(not DATA.exists(), reason="no recorded judgments beside the checkout")
def test_exchanging_the_responses_flips_every_sign_and_keeps_every_reward(name):
    records = [r for r in recorded(name) if r.evaluator == recorded(name)[0].evaluator][:400]
    arms = {"llmbar": ("Vanilla_NoRules", "Metrics_Reference")}.get(name, ())
    table, other = tabulate(records, arms), tabulate([exchanged(r) for r in records], arms)
    first_other = np.arange(len(table)) ^ 1  # the row of the same instance in which the other order comes first
    np.testing.assert_array_equal(other.said_NU[first_other], -table.said_NU)
    np.testing.assert_array_equal(other.gold_N, -table.gold_N)
    ours, theirs = (bundle_table(t, t.bundles, np.ones(len(t.purchases)))[0] for t in (table, other))
    np.testing.assert_array_equal(theirs[first_other], ours)


# ratings


def rating(number: int, gold_index: int, **scores: list[list[float]]) -> Record:
    """`scores`: arm -> the draws of each response."""
    judgments = [
        judged(arm, A, tokens=100.0 * max(map(len, drawn)), scores=tuple(map(tuple, drawn)))
        for arm, drawn in scores.items()
    ]
    return record(number, "A", *judgments, gold_index=gold_index)


def test_draws_that_two_arms_share_are_bought_once():
    records = [rating(i, 0, one=[[7], [3]], three=[[7, 5, 9], [3, 4, 4]], other=[[2 + i % 3], [5]]) for i in range(4)]
    table = tabulate(records, ("one", "three", "other"))
    assert [str(p) for p in table.purchases] == ["three[1]", "three[2]", "three[3]", "other[1]"]
    assert table.bundles == ((0,), (0, 1, 2), (3,))
    assert table.cost_NU[0].tolist() == [100, 100, 100, 100]
    assert table.rating_NUR[0].tolist() == [[7, 3], [5, 4], [9, 4], [2, 5]]
    assert accuracy(table).tolist() == [1, 1, pytest.approx((0 + 0 + 0 + 0) / 4)]


def test_a_tie_of_ratings_shares_the_reward_among_those_at_the_top():
    records = [rating(0, 0, x=[[5], [5], [5], [1]], y=[[5], [6], [1], [1]])]
    assert accuracy(tabulate(records)).tolist() == [pytest.approx(1 / 3), 0]


# strength


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("[[A>>B]]", 1.0),
        ("[[A>B]]", 0.5),
        ("first [[A>B]], then [[A>>B]]", 1.0),
        ('{"score": 9} and {"score": 6}', 0.3),
        ('{"score": 0.5} and {"score": 0.5}', LEAST),
        ("<think>[[A>B]]</think> [[A]]", 1.0),
        ("no more than a letter: [[A]]", 1.0),
    ],
)
def test_the_strength_of_a_verdict_is_what_its_text_says_beyond_the_letter(text, worth):
    assert strength(judged("x", A, completion_ab=text), "ab") == pytest.approx(worth)


def test_the_strength_of_a_single_order_without_a_text_is_its_probability():
    assert strength(judged("x", A, p_a=0.8), "ab") == pytest.approx(0.6)
    assert strength(judged("x", A, A, p_a=0.8), "ab") == 1.0  # of two orders p_a is a mean: it says nothing of one


def test_one_rating_is_none():
    assert ratings(judged("x", A, scores=((5.0,),))) == ()
    assert ratings(judged("x", A, scores=((5.0,), (6.0,)))) == ((5.0,), (6.0,))


# the published figures


@cache
def published_table(label: str, cheap: str, dear: str) -> Table:
    name, evaluator = SETS[label]
    records = [r for r in recorded(name) if evaluator in (None, r.evaluator)]
    return tabulate(records, (cheap, dear))


PUBLISHED = [cells for _, cells in rows_of(HEADROOM_TABLE)]
SIGNED = [cells for cells in PUBLISHED if "gpt-5.4" not in cells[0]]
RATED = [cells for cells in PUBLISHED if "gpt-5.4" in cells[0]]


def named(cells: list[str]) -> str:
    return f"{cells[0]} {cells[1]} {cells[2]}"


@pytest.mark.parametrize("cells", SIGNED, ids=named)
def test_always_an_arm_has_the_published_accuracy_and_cost(cells):
    table = published_table(*cells[:3])
    assert 0 <= int(cells[3]) - len(table.ids) <= 1  # one record's letters and verdicts contradict each other
    assert [f"{100 * share:.1f}" for share in accuracy(table)] == cells[4:6]
    assert "/".join(f"{cost:.0f}" for cost in table.arm_costs().mean(axis=0)) == cells[9]


@pytest.mark.parametrize("cells", SIGNED, ids=named)
def test_the_oracle_without_a_budget_has_the_published_accuracy(cells):
    table = published_table(*cells[:3])
    assert f"{100 * ceiling(table, np.inf).reward_N.mean():.1f}" == cells[6]


@pytest.mark.parametrize("cells", RATED, ids=named)
def test_ratings_give_the_verdicts_that_their_source_gave(cells):
    """But for the few rows whose right response is not known, and those where the first of eight draws could not be
    read: the next one stands in its place. The source counts a shared first place as a tie."""
    label, cheap, dear, n = cells[:4]
    table = published_table(label, cheap, dear)
    assert int(n) - len(table.ids) <= 4
    known = {r.pair.id: r for r in recorded(SETS[label][0])}
    reward_NK, cost_NK = bundle_table(table, table.bundles, np.ones(len(table.purchases)))
    for k, arm in enumerate((cheap, dear)):
        judgments = [known[i].judgments[arm] for i in table.ids]
        told = np.array([reward(j.ab, known[i].pair.gold) for i, j in zip(table.ids, judgments, strict=True)])
        ours = np.where(reward_NK[:, k] == 1, 1.0, np.where(reward_NK[:, k] > 0, 0.5, 0.0))
        assert (ours == told).mean() >= (1 if arm.endswith("k8") else 0.994)
        assert cost_NK[:, k].mean() == pytest.approx(np.mean([j.output_tokens for j in judgments]), rel=1e-3)
