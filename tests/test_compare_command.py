"""What `adjudge compare` prints and writes."""

import json
import re

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from adjudge import __main__, records
from adjudge.commands import compare as under_test
from adjudge.commands.compare_table import GAP, Column, fitting
from adjudge.store.store import Store
from tests.judgments import judgment, record


def some_records(two: str = "two", domain: str = "math") -> list:
    """Forty pairs of two domains: `two` is right where one is wrong in the first, and the reverse in the other."""

    def arm(name: str, orders: str, tokens: int):
        return judgment(name, orders, output_tokens=tokens, prompt_tokens=100, cost_usd=tokens / 1e4)

    def row(number: int, where: str, one: str, other: str):
        return record(number, "A", where, **{"one": arm("one", one, 4), two: arm(two, other, 170)})

    return [row(i, domain, "AB", "AA") for i in range(20)] + [row(20 + i, "chat", "AA", "A?") for i in range(20)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "records.jsonl"
    records.write(path, some_records())
    return path


def run(*args: object, width: int = 80) -> Result:
    return CliRunner().invoke(under_test.command, [str(a) for a in args], env={"COLUMNS": str(width)})


def test_the_table_shows_both_arms_the_gain_and_says_it_in_words(file):
    shown = run(file).stdout
    assert re.search(r"^one -> two: 40 pairs judged by both", shown)
    assert re.search(r"^all +40 +75\.0 +75\.0 +\+0\.0 \[", shown, re.MULTILINE)
    assert re.search(r"^math +20 +50\.0 +100\.0 +\+50\.0 \[ *\S+, +\S+\] +42\.5 x", shown, re.MULTILINE)
    words = " ".join(shown.split())
    assert "two costs 42.5 x the output tokens of one and gains 0.0 points of accuracy [" in words
    assert (
        "By domain: it pays in math (+50.0), harms in chat (-50.0), and shows no clear difference in 0 of 2." in words
    )


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("arms", ["one,two", "all", "two"])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(tmp_path, width, arms):
    others = {f"arm-with-a-long-name-{k}": "AB" for k in range(9)}
    many = [record(i, "A", "a/rather/long/name/of/a/domain", **others, one="A?", two="AA") for i in range(30)]
    path = tmp_path / "records.jsonl"
    records.write(path, many)
    shown = run(path, "--arms", arms, width=width).stdout
    assert max(map(len, shown.splitlines())) <= width
    assert re.search(r"^two |^ *\d+ two ", shown, re.MULTILINE)
    assert "100.0" in shown


def test_a_pipe_gets_the_wide_table_and_no_colour(file):
    shown = CliRunner().invoke(under_test.command, [str(file)], env={"COLUMNS": None}).stdout
    assert "McNemar p" in shown and "\x1b" not in shown


def test_names_from_a_file_cannot_steer_the_terminal(tmp_path):
    path = tmp_path / "records.jsonl"
    records.write(path, some_records(two="two\x1b[2J", domain="ma\x1b]0;x\x07th\nnext"))
    for arms in ("all", "one,two\x1b[2J"):
        shown = run(path, "--arms", arms, width=120).stdout
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", shown)
        assert "two[U+001B][2J" in shown and "th next" in shown


def test_a_store_gives_the_same_figures_as_the_file(file, tmp_path):
    url = str(tmp_path / "judgments.db")
    with Store.open(url) as store:
        store.import_records(some_records(), source="test")
    assert json.loads(run(url, "--json").stdout) == json.loads(run(file, "--json").stdout)
    assert run(url, "--json", "--evaluator", "judge").exit_code == 0


def test_json_is_one_object_and_nothing_else(file):
    shown = run(file, "--json")
    found = json.loads(shown.stdout)
    assert shown.stdout.count("\n") == 1 and shown.stderr == ""
    first = found["rows"][0]
    assert first["domain"] == "all" and first["n"] == 40 and first["cost_ratio"] == 42.5
    assert first["accuracy"] == {"one": 0.75, "two": 0.75} and first["output_tokens"] == {"one": 4, "two": 170}
    assert [row["domain"] for row in found["rows"]] == ["all", "chat", "math"]


def test_unread_left_out_is_said_and_changes_the_accuracy(file):
    shown = run(file, "--unread", "left-out", width=120).stdout
    assert "unread left out" in shown
    assert re.search(r"^chat +20 +100\.0 +100\.0 ", shown, re.MULTILINE)
    assert "60 of 80" in shown  # verdicts of the orders run: both counts in view


def test_what_is_left_out_for_want_of_width_is_said(file):
    assert "Left out for want of width: " in run(file, width=80).stdout
    assert "Left out" not in run(file, width=200).stdout


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), min_size=1, max_size=12), st.integers(30, 200))
def test_fitting_keeps_the_order_and_drops_the_least_important_first(shapes, width):
    columns = [
        Column("label", ["x" * 40]),
        *(Column(f"{i}", ["x" * size], drop) for i, (size, drop) in enumerate(shapes)),
    ]
    kept = fitting(columns, width)
    assert [c for c in columns if c in kept] == kept and kept[0] is columns[0]
    gone = [c for c in columns if c not in kept]
    assert all(c.drop for c in gone)
    assert not gone or min(c.drop for c in gone) >= max((c.drop for c in kept if c.drop), default=0)
    if any(c.drop for c in kept):
        assert 28 + sum(GAP + c.width for c in kept[1:]) <= width


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--arms", "one,tow"], "no arm 'tow'; did you mean 'two'?"),
        (["--arms", ","], "no arm is named"),
        (["--evaluator", "gpt"], "no evaluator 'gpt'"),
        (["--by", "domian"], "did you mean 'domain'?"),
        (["--unread", "maybe"], "maybe"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(file, capfd, args, says):
    with pytest.raises(SystemExit) as left:
        __main__.main(["compare", str(file), *args])
    out, err = capfd.readouterr()
    assert left.value.code == 2 and out == ""
    assert says in err and err.count("\n") == 1


def test_html_is_written_without_the_password_of_a_store(file, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    monkeypatch.setattr("sys.argv", ["adjudge", "compare", "postgresql://me:s3cret@host/db", "--html", str(page)])
    shown = run(file, "--html", page)
    assert shown.exit_code == 0 and f"wrote {page}" in shown.stderr
    text = page.read_text(encoding="utf-8")
    assert "s3cret" not in text and "postgresql://me:***@host/db" in text and "math" in text
