"""The comparison: hand counts, laws, and what it refuses. Published figures are in test_published_figures.py."""

from functools import partial
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.columns import ABSENT, CODE, ArmColumns, gather
from adjudge.compare import compare
from adjudge.comparison import Comparison, to_json
from adjudge.errors import ConfigError, DataError
from adjudge.types import Judgment, Outcome, Pair, Record, reward
from tests.judgments import judgment, record

OUTCOMES = [None, *Outcome]
quick = partial(compare, resamples=100)
orders = st.text(alphabet="AB=?trf.", min_size=2, max_size=2)
some_records = st.lists(
    st.tuples(st.sampled_from(["A", "B", None]), st.sampled_from("xyz"), orders, orders), min_size=1, max_size=30
).map(lambda rows: [record(i, gold, domain, one=one, two=two) for i, (gold, domain, one, two) in enumerate(rows)])


def both(comparison: Comparison, row: int = 0):
    """The contrast of a comparison of two arms."""
    return next(iter(comparison.rows[row].contrasts.values()))


def leaves(value, path="") -> dict[str, object]:
    """Every number, text and None of a JSON value, by its path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, inner in items for k, v in leaves(inner, f"{path}/{key}").items()}
    return {path: value}


# -- what is counted


def test_the_outcome_of_a_column_is_the_judgments_own():
    for ab, ba in product(OUTCOMES, repeat=2):
        if ab is None and ba is None:
            continue
        code = np.array([[CODE[ab]], [CODE[ba]]], dtype=np.int8)
        nothing = np.array([np.nan])
        columns = ArmColumns(np.array([True]), code[0], code[1], nothing, nothing, nothing)
        assert columns.outcomes().tolist() == [CODE[Judgment(arm="x", ab=ab, ba=ba).outcome]], (ab, ba)


@pytest.mark.parametrize(("unread", "words"), [("wrong", "count as wrong"), ("left-out", "count in no accuracy")])
def test_a_note_says_how_many_judgments_failed_and_how_they_count(unread, words):
    records = [
        record(0, "A", one="AA", two="ff"),
        record(1, "A", one="A?", two="Af"),
        record(2, "A", one="AA", two="AA"),
    ]
    notes = quick(records, ["one", "two"], unread=unread).notes
    assert [note for note in notes if "2 of 3 of two; they " + words in note and "of one" not in note]
    assert not any("failed" in note for note in quick(records[2:], ["one", "two"]).notes)


def test_a_judgment_without_any_order_has_no_outcome():
    columns = gather([record(0, "A", one="..")], lambda r: r.pair.domain)
    assert columns.arms["one"].outcomes().tolist() == [ABSENT]


@given(some_records)
def test_accuracy_is_the_mean_reward_of_the_orders_run(records):
    row = quick(records, ["one"]).rows[0].arms["one"]
    ran = [(outcome, r.pair.gold) for r in records if r.pair.gold for outcome in r.judgments["one"].orders]
    if not ran:
        assert row.accuracy is None
        return
    assert row.accuracy.value == pytest.approx(np.mean([reward(outcome, gold) for outcome, gold in ran]))
    assert row.accuracy.low <= row.accuracy.value <= row.accuracy.high


@given(some_records)
def test_shares_are_of_the_orders_run_and_nulls_add_up(records):
    row = quick(records, ["one"]).rows[0].arms["one"]
    ran = [outcome for r in records for outcome in r.judgments["one"].orders]
    assert row.n_orders == len(ran)
    assert row.n_verdicts == sum(o.is_verdict for o in ran)
    for name in ("unread", "truncated", "refused", "failed", "tie"):
        expected = ran.count(Outcome(name)) / len(ran) if ran else 0.0
        assert getattr(row, f"{name}_share") == pytest.approx(expected)
    assert row.null_share == pytest.approx(
        row.unread_share + row.truncated_share + row.refused_share + row.failed_share
    )


@given(some_records)
def test_the_gain_is_the_difference_of_the_accuracies_shown(records):
    for unread in ("wrong", "left-out"):
        for row in quick(records, ["one", "two"], unread=unread).rows:
            gain, (one, two) = row.contrasts["one", "two"].gain, (row.arms[a].accuracy for a in ("one", "two"))
            assert (gain is None) == (one is None or two is None)
            if gain:
                assert gain.value == pytest.approx(two.value - one.value)
                assert -1 <= gain.low <= gain.high <= 1


@given(some_records)
def test_mcnemar_counts_pairs_by_their_outcome(records):
    contrast = both(quick(records, ["one", "two"]))
    only = {"one": 0, "two": 0}
    for r in records:
        if r.pair.gold is None or not all(j.orders for j in r.judgments.values()):
            continue
        right = {name for name, j in r.judgments.items() if j.outcome == r.pair.gold}
        if len(right) == 1:
            only[right.pop()] += 1
    assert (contrast.only_base, contrast.only_other) == (only["one"], only["two"])


@given(some_records)
def test_exchanging_a_and_b_everywhere_changes_nothing(records):
    def swapped(j: Judgment) -> Judgment:
        return msgspec.structs.replace(j, ab=j.ba and j.ba.swapped(), ba=j.ab and j.ab.swapped())

    mirrored = [
        Record(
            pair=r.pair.swapped(),
            evaluator=r.evaluator,
            judgments={name: swapped(j) for name, j in r.judgments.items()},
        )
        for r in records
    ]
    here, there = (to_json(quick(rs, ["one", "two"])) for rs in (records, mirrored))
    assert leaves(here) == pytest.approx(leaves(there))


@given(some_records, st.randoms(use_true_random=False))
def test_the_order_of_the_records_changes_nothing(records, draw):
    shuffled = records[:]
    draw.shuffle(shuffled)
    here, there = (to_json(quick(rs, ["one", "two"])) for rs in (records, shuffled))
    assert leaves(here) == pytest.approx(leaves(there))


def test_unread_orders_can_be_left_out_and_both_counts_stay_in_view():
    records = [
        record(0, "A", one="A?", two="AA"),
        record(1, "B", one="Bt", two="AB"),
        record(2, "A", one="BA", two="=="),
    ]
    wrong, left_out = (compare(records, unread=unread).rows[0].arms["one"] for unread in ("wrong", "left-out"))
    assert wrong.accuracy.value == 3 / 6 and left_out.accuracy.value == 3 / 4
    for row in (wrong, left_out):
        assert (row.n_orders, row.n_verdicts, row.null_share) == (6, 4, 2 / 6)


# -- orders and positions


def test_a_judge_that_always_prefers_the_first_shown_is_fully_biased_and_never_consistent():
    row = compare([record(i, "A", one="AB") for i in range(20)], ["one"]).rows[0].arms["one"]
    assert row.position_bias.value == 0.5 and row.consistency.value == 0.0 and row.n_both == 20
    assert row.accuracy.value == 0.5


def test_a_judge_that_looks_at_content_alone_has_no_position_bias():
    records = [record(i, "A", one="AA" if i % 3 else "BB") for i in range(21)]
    row = compare(records, ["one"]).rows[0].arms["one"]
    assert row.position_bias.value == 0.0 and row.consistency.value == 1.0


def test_position_bias_counts_only_pairs_with_a_verdict_in_both_orders():
    records = [record(0, "A", one="AB"), record(1, "A", one="A."), record(2, "A", one="A?"), record(3, "A", one="B=")]
    row = compare(records, ["one"]).rows[0].arms["one"]
    # first shown: "AB" wins both; "B=" loses one, ties one; the other two do not count
    assert row.n_both == 2 and row.position_bias.value == (1 + 1 + 0 + 0.5) / 4 - 0.5


def test_best_of_n_instances_have_no_first_of_two():
    pair = Pair(id="x", gold="A", domain="d", gold_index=2)
    rows = [Record(pair=pair, evaluator="judge", judgments={"one": judgment("one", "AB")})]
    row = compare(rows, ["one"]).rows[0].arms["one"]
    assert row.position_bias is None and row.consistency.value == 0.0


# -- cost and agreement


def test_costs_are_compared_where_both_are_known():
    def arm(tokens, usd):
        return judgment("x", "AA", output_tokens=tokens, cost_usd=usd, prompt_tokens=7)

    records = [record(0, "A", one=arm(4, 0.1), two=arm(100, 0.4)), record(1, "A", one=arm(6, 0.3), two=arm(None, None))]
    comparison = compare(records)
    assert both(comparison).cost_ratio == 25.0 and both(comparison).usd_ratio == pytest.approx(4.0)
    one, two = comparison.rows[0].arms.values()
    assert (one.output_tokens, one.prompt_tokens, one.cost_usd) == (5.0, 7.0, pytest.approx(0.2))
    assert (two.output_tokens, two.cost_usd) == (100.0, 0.4)


def test_a_gain_says_over_how_many_pairs_with_gold_it_is_taken():
    records = [
        record(0, "A", one="AA", two="AB"),
        record(1, None, one="AA", two="AA"),
        record(2, "B", one="A?", two="B."),
    ]
    assert [row.n for row in quick(records, ["one", "two"]).rows] == [3, 3]
    assert both(quick(records, ["one", "two"])).n == 2
    unread = [*records, record(3, "A", one="??", two="t?")]
    assert both(quick(unread, ["one", "two"])).n == 3
    assert both(quick(unread, ["one", "two"], unread="left-out")).n == 2


def test_an_arm_that_costs_nothing_gives_no_ratio():
    free = judgment("one", "AA", output_tokens=0)
    assert both(compare([record(0, "A", one=free, two=judgment("two", "AA", output_tokens=9))])).cost_ratio is None


def test_agreement_counts_pairs_where_both_arms_settled():
    records = [
        record(0, None, one="AA", two="AA"),
        record(1, None, one="AB", two="=="),  # disagreeing orders are a tie: the same outcome
        record(2, None, one="BB", two="AA"),
        record(3, None, one="B?", two="BB"),  # no verdict by one: does not count
    ]
    comparison = compare(records)
    agreement = comparison.agreements["one", "two"]
    assert (agreement.n, agreement.share) == (3, 2 / 3)
    assert agreement == both(comparison).agreement
    assert comparison.rows[0].alpha is None  # two arms


def test_without_gold_accuracy_is_unknown_and_the_rest_stands():
    comparison = compare([record(i, None, one="AA", two="AB") for i in range(4)])
    row = comparison.rows[0]
    assert row.arms["one"].accuracy is None and both(comparison).gain is None and both(comparison).mcnemar_p is None
    assert row.arms["two"].consistency.value == 0.0
    assert any("no pair has a gold label" in note for note in comparison.notes)


# -- pairing


def test_paired_rows_hold_only_what_all_arms_judged_and_alone_holds_everything():
    records = [record(0, "A", one="AA", two="AA"), record(1, "A", one="BB"), record(2, "B", two="BB", domain="e")]
    comparison = compare(records, ["one", "two"])
    assert [(row.domain, row.n) for row in comparison.rows] == [("all", 1), ("d", 1)]
    assert {name: row.n_rows for name, row in comparison.alone.items()} == {"one": 2, "two": 2}
    assert comparison.alone["one"].accuracy.value == 0.5
    assert comparison.notes == (
        "judgments left unpaired because another arm did not judge the pair: 1 of 2 of one, 1 of 2 of two",
    )


def test_arms_that_never_meet_cannot_be_paired():
    with pytest.raises(DataError, match="both 'one' and 'two'"):
        compare([record(0, "A", one="AA"), record(1, "A", two="AA")])


def test_many_arms_that_never_all_meet_are_still_shown_alone():
    records = [record(0, "A", one="AA", two="AA"), record(1, "A", two="AA", three="BB")]
    comparison = compare(records, ["all"])
    assert [row.n for row in comparison.rows] == [0]
    assert comparison.alone["two"].n_rows == 2 and comparison.agreements["two", "three"].n == 1
    to_json(comparison)


def test_rows_go_by_domain_source_evaluator_or_a_key_of_the_pair():
    def made(number, **meta):
        pair = Pair(id=f"p{number}", gold="A", domain=f"d{number}", source=f"s{number}", meta=meta)
        return Record(pair=pair, evaluator="judge", judgments={"one": judgment("one", "AA")})

    records = [made(1, level="hard"), made(2, level="easy"), made(3)]
    for by, expected in {
        "domain": ["all", "d1", "d2", "d3"],
        "source": ["all", "s1", "s2", "s3"],
        "evaluator": ["all", "judge"],
        "level": ["all", "(none)", "easy", "hard"],
    }.items():
        assert [row.domain for row in compare(records, by=by).rows] == expected


def test_a_key_that_no_pair_carries_is_refused():
    with pytest.raises(ConfigError, match=r"'levle'; did you mean 'level'"):
        pair = Pair(id="x", meta={"level": 1})
        compare([Record(pair=pair, evaluator="judge", judgments={"one": judgment("one", "AA")})], by="levle")


def test_a_key_with_a_value_for_every_pair_is_refused():
    with pytest.raises(ConfigError, match=r"1,001 values.*coarser"):
        compare([record(i, "A", f"d{i}", one="AA") for i in range(1001)])


def test_the_same_pairs_judged_by_more_evaluators_are_no_new_pairs():
    rng = np.random.default_rng(0)
    drawn = [("AB"[i % 2], *("".join(rng.choice(["A", "B"], 2)) for _ in range(2))) for i in range(60)]
    records = {
        name: [record(i, gold, evaluator=name, one=one, two=two) for i, (gold, one, two) in enumerate(drawn)]
        for name in ("gpt", "llama")
    }
    single = both(compare(records["gpt"])).gain
    double = compare([*records["gpt"], *records["llama"]], by="evaluator")
    assert [(row.domain, row.n) for row in double.rows] == [("all", 120), ("gpt", 60), ("llama", 60)]
    assert both(double).gain == single
    assert both(double).mcnemar_p is None and both(double, 1).mcnemar_p is not None


# -- choosing


def test_two_arms_are_taken_as_they_are_the_cheap_one_first():
    dear, cheap = judgment("dear", "AA", output_tokens=90), judgment("cheap", "AA", output_tokens=4)
    assert compare([record(0, "A", dear=dear, cheap=cheap)]).arms == ("cheap", "dear")


def test_more_than_two_arms_have_to_be_named():
    records = [record(0, "A", one="AA", two="AA", three="BB")]
    with pytest.raises(ConfigError, match=r"--arms.*one \(1\), two \(1\), three \(1\)"):
        compare(records)
    assert compare(records, ["all"]).pairs == (("one", "two"), ("one", "three"))
    assert compare(records, ["three", "one"]).pairs == (("three", "one"),)


def test_an_unknown_arm_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="no arm 'Vanila'; did you mean 'Vanilla'"):
        compare([record(0, "A", Vanilla="AA", CoT="AA")], ["Vanila", "CoT"])


def test_names_in_an_error_cannot_steer_the_terminal():
    with pytest.raises(ConfigError) as error:
        compare([record(0, "A", **{f"arm\x1b[2J{i}": "AA" for i in range(30)})])
    assert "\x1b" not in str(error.value) and str(error.value).endswith("and 10 more")


def test_an_arm_named_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        compare([record(0, "A", one="AA", two="AA")], ["one", "one"])


def test_of_several_evaluators_one_has_to_be_named():
    records = [record(0, "A", evaluator="gpt-4", one="AA"), record(0, "A", evaluator="llama", one="BB")]
    with pytest.raises(ConfigError, match=r"--evaluator.*gpt-4 \(1\), llama \(1\)"):
        compare(records)
    with pytest.raises(ConfigError, match="did you mean 'gpt-4'"):
        compare(records, evaluator="gpt4")
    assert compare(records, evaluator="llama").rows[0].arms["one"].accuracy.value == 0.0


@pytest.mark.parametrize("records", [[], [record(0, "A")]])
def test_nothing_to_compare_is_said(records):
    with pytest.raises(DataError):
        compare(records)


# -- words and JSON


@pytest.mark.parametrize("n", range(1, 12))
def test_a_difference_is_shown_by_six_pairs_or_more_and_by_no_interval_that_includes_zero(n):
    apart = [record(i, "A", one="BB", two="AA") for i in range(n)]
    assert both(compare(apart)).side == (1 if n >= 6 else 0)
    assert both(compare(apart, ["two", "one"])).side == (-1 if n >= 6 else 0)
    assert both(compare([*apart, record(n, None, one="BB", two="AA")])).side == (1 if n >= 6 else 0)
    alike = [record(i, "A", one="AB", two="BA") for i in range(n)]
    assert both(compare(alike)).side == 0


def test_two_views_that_part_are_explained():
    steady = [record(i, "A", one="AA", two="AB") for i in range(15)]  # one settles these, two is half right
    fickle = [record(15 + i, "A", one="BB", two="AB") for i in range(40)]  # one is wrong, two is half right
    comparison = compare(steady + fickle, ["one", "two"])
    assert both(comparison).gain.low > 0 and (both(comparison).better, both(comparison).worse) == (40, 15)
    assert both(comparison).only_base == 15 and both(comparison).mcnemar_p < 0.05
    assert any("two earns more per order than one" in note for note in comparison.notes)


@given(some_records)
def test_the_json_is_what_the_design_says(records):
    found = msgspec.json.decode(msgspec.json.encode(to_json(quick(records, ["one", "two"]))))
    assert found["rows"][0]["domain"] == "all"
    for row in found["rows"]:
        assert list(row)[:8] == [
            "domain", "n", "accuracy", "output_tokens", "gain", "gain_low", "gain_high", "cost_ratio"
        ]  # fmt: skip
        assert list(row["accuracy"]) == list(row["output_tokens"]) == ["one", "two"]
