"""The parts of the page: what the finding says, where labels and ticks stand, what names become."""

import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.compare import compare
from adjudge.report import scatter
from adjudge.report.finding import finding
from adjudge.report.svg import NARROW, WIDE, Scale, cost_scale, shorten, text_width
from adjudge.report.text import visible
from adjudge.types import Judgment, Outcome
from tests.judgments import record

NBSP = "\N{NO-BREAK SPACE}"

# -- the finding


def said_of(rows: list[tuple[str, str, str]], **tokens: float) -> list[str]:
    some = [
        record(
            i,
            gold,
            one=Judgment(arm="one", ab=_outcome(x), output_tokens=tokens.get("one")),
            two=Judgment(arm="two", ab=_outcome(y), output_tokens=tokens.get("two")),
        )
        for i, (gold, x, y) in enumerate(rows)
    ]
    return [sentence.replace(NBSP, " ") for sentence in finding(compare(some, ["one", "two"]))]


def _outcome(letter: str) -> Outcome:
    return Outcome(letter)


def test_a_clear_gain_is_said_with_its_cost_and_its_interval():
    said = said_of([("A", "B", "A")] * 30 + [("A", "A", "A")] * 10, one=10, two=426)
    assert said[0].startswith("two costs 42.6 × the output tokens of one and gains +75.0 points of accuracy [+")
    assert said[0].endswith(": 100.0 % against 25.0 %.")


def test_a_loss_is_said_without_a_double_minus():
    said = said_of([("A", "A", "B")] * 30 + [("A", "A", "A")] * 10, one=10, two=5)
    assert "two costs 0.50 × the output tokens of one and loses 75.0 points of accuracy [−" in said[0]


def test_an_interval_that_includes_zero_is_said_to():
    said = said_of([("A", "A", "B"), ("A", "B", "A"), ("A", "B", "A")], one=10, two=20)
    assert said[0].endswith("The interval includes zero: no difference is shown by 3 pairs.")


def test_domains_are_named_where_their_gain_is_shown_and_counted_where_it_is_not():
    made = [("math", "BB", "AA", 50), ("safety", "AA", "BB", 50), ("chat", "AA", "AA", 50), ("tiny", "BB", "A=", 3)]
    rows = [(domain, one, two) for domain, one, two, count in made for _ in range(count)]
    records = [record(i, "A", domain, one=one, two=two) for i, (domain, one, two) in enumerate(rows)]
    said = finding(compare(records, ["one", "two"]))
    assert (
        said[1]
        == "By domain: it pays in math (+100.0), harms in safety (−100.0), and shows no clear difference in 2 of 4."
    )


def test_a_single_pair_shows_nothing():
    assert said_of([("A", "B", "A")])[0].endswith("The interval includes zero: no difference is shown by 1 pair.")


def test_without_gold_nothing_is_said_about_accuracy():
    some = [record(i, None, one="AA", two="AB") for i in range(4)]
    said = finding(compare(some, ["one", "two"]))
    assert "nothing is said about accuracy" in said[0]
    assert not [sentence for sentence in said if "gain" in sentence or "lose" in sentence]


def test_one_arm_alone_is_said_to_be_alone():
    said = finding(compare([record(i, "A", one="AA") for i in range(4)], ["one"]))
    assert len(said) == 1
    assert said[0].endswith("there is nothing to set it against.")


# -- drawing


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.floats(1, 1e5), st.integers(0, 20), st.text("abcXYZ-_09", min_size=1, max_size=30)), min_size=1
    )
    .map(lambda arms: {name: (tokens, right) for tokens, right, name in arms})
    .filter(lambda arms: len(arms) <= 12)
)
def test_labels_of_the_scatter_never_cover_each_other(arms):
    some = [
        record(
            i,
            "A",
            **{
                name: Judgment(arm=name, ab=Outcome.A if i < right else Outcome.B, output_tokens=tokens)
                for name, (tokens, right) in arms.items()
            },
        )
        for i in range(20)
    ]
    rows = compare(some, list(arms), resamples=2).rows[0].arms
    for width in (WIDE, NARROW):
        drawing = scatter.draw(rows, width)
        svg = ElementTree.fromstring(str(drawing.svg))
        labels = [e for e in svg.iter("text") if e.get("class") == "label"]
        assert len(labels) in (len(arms), 0)
        assert sorted(drawing.key or [e.text for e in labels]) == sorted(arms)
        boxes = [(float(e.get("x")), float(e.get("y")), text_width(e.text)) for e in labels]
        for i, (x, y, wide) in enumerate(boxes):
            assert x >= 0
            assert x + wide <= width
            for other_x, other_y, other_wide in boxes[:i]:
                assert abs(y - other_y) >= 15 or x >= other_x + other_wide or other_x >= x + wide


@given(st.lists(st.floats(0, 1e7), min_size=1, max_size=12), st.floats(40, 900))
def test_an_axis_of_costs_holds_every_value_and_rises(values, length):
    scale = cost_scale(values, 10, 10 + length)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] >= 10
    assert places[-1] <= 10 + length + 1e-6
    ticks = scale.ticks()
    assert ticks == sorted(set(ticks))
    rounding = 1e-6 * scale.high
    assert all(scale.low - rounding <= tick <= scale.high + rounding for tick in ticks)


def test_a_linear_axis_has_round_ticks_and_one_at_zero():
    assert Scale(-0.11, 0.23, 0, 400).ticks(80) == pytest.approx([-0.1, 0.0, 0.1, 0.2])


@given(st.text())
def test_visible_text_hides_nothing_and_keeps_the_rest(words):
    shown = visible(words)
    assert not [c for c in shown if unicodedata.category(c) in ("Cf", "Co", "Cs", "Zl", "Zp")]
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    if words.isascii() and words.isprintable():
        assert shown == words


@given(st.text(), st.floats(20, 300))
def test_a_shortened_name_fits_or_is_next_to_nothing(words, width):
    shown = shorten(words, width)
    assert text_width(shown) <= width or len(shown) <= 2 or "\N{HORIZONTAL ELLIPSIS}" in shown
