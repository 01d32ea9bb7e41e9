"""adjudge judge from the outside: exit codes, words, JSON, keys, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from adjudge import records
from tests import scripted

KEY = "sk-a-very-secret-key-0123456789"
ARMS = """
[servers.s]
url = "{url}"
api_key_env = "THE_KEY"
retries = 1

[arms.instruct]
server = "s"
model = "scripted"
max_tokens = 16
price = {{ input = 1.0, output = 2.0 }}

[arms.reasoning]
like = "instruct"
mode = "reasoning"
max_tokens = 256
"""


@pytest.fixture
def place(tmp_path):
    rows = [{"id": f"p{i}", "prompt": f"{i}?", "response_a": f"yes {i}", "response_b": "no"} for i in range(40)]
    for row in rows[:30]:
        row["gold"] = "A"
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path


def judge(place, *args: str, arms: str = "instruct,reasoning", **more) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "adjudge",
        "judge",
        "pairs.jsonl",
        "--arms",
        "arms.toml",
        *(["--arm", arms] if arms else []),
    ]
    return subprocess.run(
        [*command, *args],
        cwd=place,
        env={**os.environ, "THE_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **more,
    )


def test_every_arm_judges_when_none_is_named_and_json_counts_the_pairs_of_the_limit(place):
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        done = judge(place, "--limit", "5", "--json", arms="")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["pairs"], said["bought"]) == (5, 10)


def test_judge_says_what_it_bought_and_buys_nothing_twice(place):
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        first = judge(place)
        calls = server.count().calls
        second = judge(place, "--json")
        assert server.count().calls == calls == 160
    assert first.returncode == 0, first.stderr
    assert "Pairs without a gold label, judged but not scored: 10 of 40." in first.stdout
    assert "80 judgments bought" in first.stdout
    assert "160 calls" in first.stdout
    assert "adjudge compare judgments.db --arms instruct,reasoning" in first.stdout
    said = json.loads(second.stdout)
    assert (said["bought"], said["skipped"], said["complete"]) == (0, 80, True)


def test_the_cap_is_never_passed_and_the_rest_is_bought_when_it_is_raised(place):
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        capped = judge(place, "--cap-usd", "0.005", "--json", arms="instruct")
        said = json.loads(capped.stdout)
        assert capped.returncode == 1
        assert 0 < said["spend"]["cost_usd"] <= 0.005
        assert said["spend"]["calls"] == server.count().calls
        assert 0 < said["not_bought"] < 40
        again = json.loads(judge(place, "--cap-usd", "5", "--json", arms="instruct").stdout)
    assert (again["bought"], again["skipped"]) == (said["not_bought"], 40 - said["not_bought"])
    assert again["complete"]


def test_what_a_cap_kept_from_being_bought_is_left_out_of_a_comparison(place):
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        judge(place, arms="reasoning")
        capped = json.loads(judge(place, "--cap-usd", "0.005", "--json", arms="instruct").stdout)
    command = [sys.executable, "-m", "adjudge", "compare", "judgments.db", "--arms", "instruct,reasoning"]
    said = json.loads(subprocess.run([*command, "--json"], cwd=place, capture_output=True, check=True).stdout)
    assert said["rows"][0]["n"] == 40 - capped["not_bought"]
    shown = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True).stdout
    assert f"{capped['not_bought']} of instruct" in " ".join(shown.split())


def test_the_words_at_the_cap_count_only_what_was_bought(place):
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        said = judge(place, "--cap-usd", "0.005", arms="instruct").stdout
        calls = server.count().calls
    assert f"{calls // 2} judgments bought" in said
    assert f"{40 - calls // 2} judgments were not bought" in said


def test_no_key_in_any_output_or_file(place):
    with scripted.process(scripted.Script(faults={"echo": 0.5, "leak": 0.3})) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        shown = judge(place)
    assert shown.returncode == 1
    export = [sys.executable, "-m", "adjudge", "export", "--store", "judgments.db", "out.jsonl"]
    subprocess.run(export, cwd=place, check=True, timeout=60)
    assert len(list(records.read(place / "out.jsonl"))) == 40
    for text in (shown.stdout, shown.stderr):
        assert KEY not in text
    for file in place.iterdir():
        assert KEY.encode() not in file.read_bytes(), file.name


def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(place):
    with scripted.process(scripted.Script(latency_s=0.3)) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        command = [sys.executable, "-m", "adjudge", "judge", "pairs.jsonl", "--arms", "arms.toml", "--concurrency", "4"]
        running = subprocess.Popen(
            command,
            cwd=place,
            env={**os.environ, "THE_KEY": KEY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.count().calls < 12:
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
        assert running.returncode == 1
        assert "waiting for the calls in flight" in err
        assert "run the same command again" in out
        bought = server.count().calls // 2
        again = json.loads(judge(place, "--json").stdout)
        assert (again["skipped"], again["bought"]) == (bought, 80 - bought)
        assert again["interrupted"] == 0


@pytest.mark.parametrize("spoiled", ["last line cut", "twice", "nul", "latin-1", "no response"])
def test_bad_pairs_are_refused_before_anything_is_bought(place, spoiled):
    pairs = place / "pairs.jsonl"
    whole = pairs.read_bytes()
    spoil = {
        "last line cut": whole[:-30],
        "twice": whole + whole.splitlines(keepends=True)[0],
        "nul": whole.replace(b"yes 7", b"yes\0 7"),
        "latin-1": whole.replace(b"yes 7", "y\xe9s 7".encode("latin-1")),
        "no response": whole.replace(b'"response_b"', b'"answer_b"'),
    }
    pairs.write_bytes(spoil[spoiled])
    with scripted.process(scripted.Script()) as server:
        (place / "arms.toml").write_text(ARMS.format(url=server.url), encoding="utf-8")
        shown = judge(place)
        assert server.count().calls == 0
    assert shown.returncode == 2
    assert shown.stderr.startswith("adjudge: pairs.jsonl:")
    assert shown.stderr.count("\n") == 1
    assert not (place / "judgments.db").exists()


BEST_OF_N = [{"id": f"n{i}", "prompt": f"{i}?", "responses": ["yes", "no", "maybe"], "gold_index": 0} for i in range(6)]
RATING = (
    ARMS
    + """
[arms.rating]
like = "instruct"
protocol = "pointwise"
[arms.either]
like = "instruct"
protocol = "self-routing"
choices = ["instruct", "rating"]
"""
)


def judge_best_of_n(place, server, *args: str, others: int = 0, arms: str) -> subprocess.CompletedProcess[str]:
    pairs = place / "pairs.jsonl"
    plain = pairs.read_text(encoding="utf-8").splitlines()[:others]
    pairs.write_text("\n".join([*plain, *map(json.dumps, BEST_OF_N)]), encoding="utf-8")
    (place / "arms.toml").write_text(RATING.format(url=server.url), encoding="utf-8")
    return judge(place, *args, arms=arms)


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ("instruct", "arm instruct compares two responses"),
        ("all", "arms instruct, reasoning, either compare two responses"),
    ],
)
def test_arms_that_compare_two_are_refused_before_anything_is_bought_where_all_items_are_best_of_n(place, arms, says):
    with scripted.process(scripted.Script()) as server:
        shown = judge_best_of_n(place, server, arms=arms)
        assert server.count().calls == 0
    assert (shown.returncode, shown.stdout, shown.stderr.count("\n")) == (2, "", 1)
    assert says in shown.stderr and "--as-pairs" in shown.stderr and 'protocol = "pointwise"' in shown.stderr
    assert not (place / "judgments.db").exists()


def test_best_of_n_items_are_judged_by_a_pointwise_arm_and_as_pairs_by_any(place):
    with scripted.process(scripted.Script(says=("[[7]] [[A]]",))) as server:
        rated = json.loads(judge_best_of_n(place, server, "--json", arms="rating").stdout)
        compared = json.loads(judge_best_of_n(place, server, "--json", "--as-pairs", arms="instruct").stdout)
    assert (rated["bought"], rated["failed"]) == (6, 0)
    assert (compared["bought"], compared["failed"]) == (12, 0)


def test_where_only_some_items_are_best_of_n_those_fail_one_by_one_and_the_others_are_judged(place):
    with scripted.process(scripted.Script()) as server:
        shown = judge_best_of_n(place, server, "--json", others=4, arms="instruct")
        assert server.count().calls == 8
    assert shown.returncode == 1
    told = json.loads(shown.stdout)
    assert (told["bought"], told["failed"]) == (10, 6)
    assert "--as-pairs" in told["failures"][0]["error"]


def test_pairs_without_any_text_are_refused_before_anything_is_bought(place):
    rows = [{"id": f"t{i}", "prompt": None, "response_a": None, "response_b": None} for i in range(3)]
    (place / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (place / "arms.toml").write_text(ARMS.format(url="http://127.0.0.1:9/v1"), encoding="utf-8")
    shown = judge(place, arms="instruct")
    assert shown.returncode == 2
    assert "pairs.jsonl: holds no texts to judge, in none of its 3 pairs" in shown.stderr
