"""An evaluation by domain: figures against those of the whole, what was bought against a hand count, the pictures."""

import re

import numpy as np
import pytest

from adjudge.metrics import Estimate
from adjudge.report import amounts, dots
from adjudge.report.amounts import Amounts
from adjudge.report.domains import by_domain
from adjudge.report.dots import Dot, Dots
from adjudge.report.rows import Axis
from adjudge.report.svg import NARROW, WIDE, Scale
from adjudge.routing.evaluate import evaluate
from adjudge.routing.scores import scored
from adjudge.routing.splits import splits
from tests.tables import drawn_table

TABLE = drawn_table(160, arms=("cheap", "middling", "dear"))
NAMES = ["static", "static+pacing", "random", "always:dear", "oracle"]
BUDGETS = [1.0, 2.0, 3.0]
SPLITS = ("random", "leave-one-domain-out")


@pytest.fixture(scope="module")
def found():
    parts = [part for kind in SPLITS for part in splits(TABLE, kind, (0, 1))]
    return scored(TABLE, evaluate(TABLE, NAMES, BUDGETS, parts), resamples=100)


def about(budgets=BUDGETS):
    return {"budgets": budgets, "arms": list(TABLE.arms)}


@pytest.mark.parametrize("split", SPLITS)
def test_domains_weighed_by_their_instances_are_the_whole(found, split):
    for whole in found["summary"]:
        if whole["split"] != split or whole["router"].startswith("always:"):
            continue
        key = ("router", "budget", "split")
        rows = [row for row in found["domains"] if all(row[k] == whole[k] for k in key)]
        counts = np.array([row["n"] for row in rows])
        assert counts.sum() == whole["n"] == 160
        for name in ("accuracy", "cost_rel"):
            assert counts @ [row[name] for row in rows] / 160 == pytest.approx(whole[name], abs=1e-5)
        for row in rows:
            assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
            assert row["overrun"] == pytest.approx(row["cost_rel"] / row["budget"] - 1, abs=1e-5)


def test_an_arm_alone_has_no_rows(found):
    assert {row["router"] for row in found["domains"]} == {"static", "static+pacing", "random", "oracle"}


def test_what_is_bought_of_an_oracle_that_takes_one_arm_is_one_purchase(found):
    rows = [row for row in found["domains"] if row["router"] == "oracle"]
    assert rows and all(sum(row["draws"].values()) == pytest.approx(1, abs=1e-5) for row in rows)


def test_a_split_by_domain_shows_what_is_bought_and_how_budget_and_accuracy_hold(found):
    titles = [figure.title for figure in by_domain(found, about(), "leave-one-domain-out")]
    assert len(titles) == 3
    assert [figure.title for figure in by_domain(found, about(), "random")] == titles[:1]


def test_one_domain_has_no_figures(found):
    only = found["domains"][0]["domain"]
    one = found | {"domains": [row for row in found["domains"] if row["domain"] == only]}
    assert by_domain(one, about(), "leave-one-domain-out") == []


def test_the_figures_are_of_the_middle_budget_and_of_the_routers_that_are_told_apart(found):
    overrun = by_domain(found, about(), "leave-one-domain-out")[1]
    assert "At budget 2," in overrun.caption
    assert [name for _, name in overrun.legend] == ["static", "static+pacing"]
    assert list(overrun.table.headings) == ["domain", "instances", "static", "static+pacing"]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_bars_are_as_long_as_their_amounts(width):
    drawn = amounts.draw([Amounts("x", [1.0, 0.5]), Amounts("<y>", [0.0, 0.25])], ("a", "b"), width, str, "label")
    long = [float(w) for w in re.findall(r'width="([0-9.]+)"[^>]*class="amount"', drawn)]
    assert long == pytest.approx([long[0], long[0] / 2, 0, long[0] / 4], abs=0.1)
    assert "<y>" not in drawn and "&lt;y&gt;" in drawn


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_estimates_beyond_the_axis_are_drawn_at_its_edge_and_none_covers_another(width):
    rows = [Dots("d", [Dot("lead", Estimate(9.0, 8.0, 10.0), "far"), Dot("fixed", Estimate(0.5, 0.4, 0.6), "near")])]
    drawn = dots.draw(rows, width, Axis(lambda start, end: Scale(0, 1, start, end), str, "title", line_at=0), "label")
    centres = re.findall(r'<circle cx="([0-9.]+)" cy="([0-9.]+)"', drawn)
    assert float(centres[0][0]) > float(centres[1][0]) and float(centres[0][0]) <= width
    assert abs(float(centres[0][1]) - float(centres[1][1])) == pytest.approx(7)
    assert "far" in drawn and "near" in drawn
