"""`compare` against the figures published with the recorded judgments: every digit that is printed there."""

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adjudge import records
from adjudge.compare import compare
from adjudge.comparison import Comparison

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no recorded judgments beside the checkout")

ARMS_TABLE = "| evaluator | arm | rows |"
GAINS_TABLE = "| records | cheap -> expensive | domain |"
HEADROOM_TABLE = "| records | cheap arm | expensive arm |"
# The names that the tables give to record sets: (file, evaluator; None where the file has only one).
SETS = {
    **{f"LLMBar {name} (all)": ("llmbar", name) for name in ("ChatGPT", "ChatGPT-0301", "LLaMA2", "Falcon")},
    "LLMBar GPT-4 (dev sets)": ("llmbar", "GPT-4"),
    "RB2 (dev)": ("rewardbench2_qwen", None),
    "RB2 gpt-5.4 (dev)": ("rewardbench2_gpt54", None),
    "JudgeBench-claude (dev)": ("judgebench_claude", None),
    "JudgeBench-gpt4o Qwen3-1.7B (dev)": ("judgebench_qwen3_rubric", None),
}


def tables(start: str) -> Iterator[tuple[str, list[str]]]:
    """(name of the records file whose section it stands in, cells) of every row of every table that starts so."""
    section, inside = "", False
    for line in (DATA / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").removeprefix("records_")
        inside = line.startswith(start) or (inside and line.startswith("|"))
        if inside and not line.startswith((start, "|--")):
            yield section, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def rows_of(start: str) -> list[tuple[str, list[str]]]:
    return list(tables(start)) if DATA.exists() else []


@cache
def recorded(name: str) -> tuple:
    return tuple(records.read(DATA / f"records_{name}.jsonl.gz"))


@cache
def compared(name: str, evaluator: str | None, *arms: str) -> Comparison:
    return compare(recorded(name), arms, evaluator=evaluator)


def printed(value: float | None, like: str, missing: str) -> str:
    """A number with as many decimals as the published one shows."""
    return missing if value is None else f"{value:.{len(like.partition('.')[2])}f}"


def test_the_published_tables_are_there():
    assert len(rows_of(ARMS_TABLE)) == 86
    assert len(rows_of(HEADROOM_TABLE)) == 29
    assert len(rows_of(GAINS_TABLE)) == 113


@pytest.mark.parametrize("path", sorted(DATA.glob("records_*.jsonl.gz")), ids=lambda p: p.name)
def test_the_table_names_every_arm_of_every_evaluator(path):
    name = path.name.removeprefix("records_").removesuffix(".jsonl.gz")
    published = {(cells[0], cells[1]) for section, cells in rows_of(ARMS_TABLE) if section == name}
    found = {(r.evaluator, arm) for r in recorded(name) for arm in r.judgments}
    assert found == published


@pytest.mark.parametrize(("name", "cells"), rows_of(ARMS_TABLE), ids=lambda x: x if isinstance(x, str) else x[1])
def test_an_arms_figures_are_the_published_ones(name, cells):
    evaluator, arm, rows, accuracy, tie, null, prompt, output = cells
    row = compared(name, evaluator, arm).alone[arm]
    assert str(row.n_rows) == rows
    assert printed(row.accuracy and 100 * row.accuracy.value, accuracy, "no gold") == accuracy
    assert printed(100 * row.tie_share, tie, "") == tie
    assert printed(100 * row.null_share, null, "") == null
    assert printed(row.prompt_tokens, prompt, "not recorded") == prompt
    assert printed(row.output_tokens, output, "not recorded") == output


@pytest.mark.parametrize("cells", [cells for _, cells in rows_of(GAINS_TABLE)], ids=lambda c: f"{c[1]} {c[2]}")
def test_the_gain_of_a_domain_is_the_published_one(cells):
    label, arms, domain, n, cheap, dear, gain = cells
    base, other = arms.split(" -> ")
    comparison = compared(*SETS[label], base, other)
    row = next(row for row in comparison.rows if row.domain == domain)
    assert str(row.n) == n
    assert printed(100 * row.arms[base].accuracy.value, cheap, "") == cheap
    assert printed(100 * row.arms[other].accuracy.value, dear, "") == dear
    assert f"{100 * row.contrasts[base, other].gain.value:+.1f}".replace("-0.0", "+0.0") == gain


@pytest.mark.parametrize("cells", [cells for _, cells in rows_of(HEADROOM_TABLE)], ids=lambda c: f"{c[0]} {c[2]}")
def test_the_pairs_won_and_lost_and_the_cost_ratio_are_the_published_ones(cells):
    label, base, other, n, cheap, dear, _, better, worse, tokens, ratio = cells[:11]
    row = compared(*SETS[label], base, other).rows[0]
    contrast = row.contrasts[base, other]
    assert str(row.n) == n
    assert printed(100 * row.arms[base].accuracy.value, cheap, "") == cheap
    assert printed(100 * row.arms[other].accuracy.value, dear, "") == dear
    assert printed(100 * contrast.better / row.n, better, "") == better
    assert printed(100 * contrast.worse / row.n, worse, "") == worse
    assert "/".join(f"{row.arms[arm].output_tokens:.0f}" for arm in (base, other)) == tokens
    assert printed(contrast.cost_ratio, ratio, "") == ratio


def test_agreement_of_the_alpaca_eval_modes_is_a_hand_count_and_near_the_published_one():
    modes = {"cot": "alpaca_eval_cot_gpt4_turbo_fn", "fn": "alpaca_eval_gpt4_turbo_fn"}
    modes["weighted"] = "weighted_alpaca_eval_gpt4_turbo"
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    published = re.search(r"cot/fn agree on ([\d.]+) %, cot/weighted on ([\d.]+) %, fn/weighted on ([\d.]+) %", readme)
    comparison = compared("alpaca_eval", None, *modes.values())
    with gzip.open(DATA / "records_alpaca_eval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line)["arms"] for line in file]
    for names, figure in zip((("cot", "fn"), ("cot", "weighted"), ("fn", "weighted")), published.groups(), strict=True):
        x, y = (modes[name] for name in names)
        judged = [[row[arm] for arm in (x, y)] for row in rows if x in row and y in row]
        verdicts = [[arm["verdict_ab"] or arm["verdict_ba"] for arm in pair] for pair in judged]
        said = [pair for pair in verdicts if all(pair)]
        agreement = comparison.agreements.get((x, y)) or comparison.agreements[y, x]
        assert agreement.n == len(said)
        assert agreement.share == sum(a == b for a, b in said) / len(said)
        # The file lacks half of the instructions, and its rows do not give the published figures to the digit.
        error = (agreement.share * (1 - agreement.share) / len(said)) ** 0.5
        assert abs(agreement.share - float(figure) / 100) < 2 * error
