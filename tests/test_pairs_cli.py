import json
import os
import subprocess
import sys

import pytest

from adjudge.pairs.read import read
from tests.pairs_samples import ALPACA_ONE, ALPACA_TWO, OWN, PREFERENCE_TEXT, REWARDBENCH2, jsonl


def adjudge(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adjudge", "pairs", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def said(shown: subprocess.CompletedProcess[str]) -> dict:
    assert (shown.returncode, shown.stderr) == (0, "")
    return json.loads(shown.stdout)


def test_check_says_what_a_file_holds(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", OWN)
    shown = adjudge("check", path)
    assert shown.returncode == 0
    for line in (f"{path}: 4 pairs (own)", "gold: A 1, B 2, none 1", "best of n: 1", "math 1, code 0"):
        assert line in shown.stdout
    told = said(adjudge("check", path, "--json"))
    assert (told["count"], told["without_gold"], told["topics"]) == (4, 1, {"math": 1, "code": 0})


def test_what_is_left_out_is_said(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", REWARDBENCH2)
    assert "left out: 1 x several right answers (Ties)" in adjudge("check", path).stdout
    assert said(adjudge("check", path, "--as-pairs", "--json"))["count"] == 33


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b'{"id": "a", "prompt"', "x.jsonl:1: is not valid JSON"),
        (b'{"what": 1}\n', "x.jsonl:1: is of no known format"),
        (b'{"id": "a\x00"}\n', "x.jsonl:1: holds NUL bytes"),
    ],
)
@pytest.mark.parametrize("command", ["check", "convert", "mix"])
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(tmp_path, command, data, says):
    path = tmp_path / "x.jsonl"
    path.write_bytes(data)
    out = tmp_path / "out.jsonl"
    shown = adjudge(command, path, *([] if command == "check" else ["--out", out]))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.count("\n") == 1
    assert says in shown.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]


def test_convert_writes_our_rows(tmp_path):
    path, out = jsonl(tmp_path / "x.jsonl", PREFERENCE_TEXT), tmp_path / "out.parquet"
    told = said(adjudge("convert", path, "--out", out, "--seed", 3, "--json"))
    assert (told["count"], told["format"]) == (40, "preference")
    assert list(read(out)) == list(read(path, seed=3))


def test_convert_joins_two_files_of_outputs(tmp_path):
    one, two = jsonl(tmp_path / "one.json", ALPACA_ONE), jsonl(tmp_path / "two.json", ALPACA_TWO)
    shown = adjudge("convert", one, "--against", two, "--out", tmp_path / "out.jsonl")
    assert "30 pairs from" in shown.stdout
    assert len(list(read(tmp_path / "out.jsonl"))) == 30
    assert "--against" in adjudge("check", one, "--questions", two).stderr


def test_mix_meets_its_shares_and_warns_of_thin_topics(tmp_path):
    rows = [{**OWN[0], "id": f"{d}{i}", "domain": d} for d, n in (("math", 300), ("chat", 900)) for i in range(n)]
    path, out = jsonl(tmp_path / "x.jsonl", rows), tmp_path / "out.jsonl.gz"
    shown = adjudge("mix", path, "--out", out, "--total", 800, "--share", "math=0.5")
    assert "short: math was to have 400 and has 300" in shown.stdout
    assert "thin: code has 0; a router that never saw code cannot send it to reasoning" in shown.stdout
    assert "thin: math" not in shown.stdout
    told = said(adjudge("mix", path, "--out", out, "--take", f"{path}=100", "--json"))
    assert (told["count"], told["sources"], told["thin_below"]) == (100, {"x": 100}, 236)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--share", "math"], "'math' is not of the form NAME=NUMBER"),
        (["--share", "math=0.1", "--share", "math=0.2"], "'math' is given twice"),
        (["--share", "math=half"], "'half' is no number"),
        (["--share", "math=1.5"], "must be from 0 to 1"),
        (["--take", "other.jsonl=5"], "which is no FILE to mix"),
        (["--total", "0"], "total must be at least 1"),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(tmp_path, args, says):
    shown = adjudge("mix", jsonl(tmp_path / "x.jsonl", OWN), "--out", tmp_path / "o.jsonl", *args)
    assert (shown.returncode, shown.stderr.count("\n")) == (2, 1)
    assert says in shown.stderr


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminal here")
def test_a_bar_shows_on_a_terminal_and_only_there(tmp_path):
    """With the quiet second taken away, a terminal on stderr gets a bar, stdout stays the one JSON object."""
    path = jsonl(tmp_path / "x.jsonl", [{**OWN[0], "id": str(i)} for i in range(5000)])
    code = (
        "from adjudge.commands import counting, pairs; counting.QUIET_S = 0.0; "
        f"pairs.command(['check', {str(path)!r}, '--json'])"
    )
    leader, follower = os.openpty()
    try:
        shown = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower, timeout=120)
        os.close(follower)
        bar = os.read(leader, 1 << 16).decode()
    finally:
        os.close(leader)
    assert json.loads(shown.stdout)["count"] == 5000
    assert "checking" in bar
