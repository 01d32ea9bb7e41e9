"""What adjudge judge says where all or many judgments fail: the most common error, and what to do about it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from adjudge import config
from adjudge.__main__ import program
from adjudge.commands.remedies import remedies
from adjudge.judging import limits
from adjudge.judging.progress import Failure, Summary, Tally
from adjudge.store.values import Spend
from adjudge.types import Judgment, Outcome
from tests import scripted

KEY = "sk-a-very-secret-key-0123456789"
ARMS = """
evaluator = "e"
[servers.s]
url = "{url}"
api_key_env = "{variable}"
retries = 0
[arms.plain]
server = "s"
model = "the-model"
repair = false
max_tokens = 16
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(limits, "FIRST_PATIENCE_S", 0.3)
    monkeypatch.setenv("THE_KEY", KEY)


def said(place: Path, url: str, variable: str = "THE_KEY", *more: str) -> str:
    """What the command prints, on one line."""
    rows = [{"id": f"p{i}", "prompt": f"{i}?", "response_a": "yes", "response_b": "no", "gold": "A"} for i in range(60)]
    (place / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (place / "arms.toml").write_text(ARMS.format(url=url, variable=variable), encoding="utf-8")
    words = ["judge", place / "pairs.jsonl", "--arms", place / "arms.toml", "--store", place / "judgments.db", *more]
    shown = CliRunner().invoke(program, [str(w) for w in words], standalone_mode=False, catch_exceptions=False)
    assert shown.return_value == 1
    assert KEY not in shown.output
    return " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        ("401", "HTTP 401: Incorrect API key provided. ", "check what the variable THE_KEY holds."),
        ("402", "HTTP 402: no credit.", "the key in THE_KEY has no credit left."),
        ("403", "HTTP 403: not for you.", 'whether the key in THE_KEY may use the model "the-model".'),
        (
            "404",
            "HTTP 404: The model does not exist. ",
            'in [servers.s] (mostly it ends in /v1), and the model, "the-mo',
        ),
        ("400", "HTTP 400: unknown field.", "check model, switch, sampling and extra in [arms.plain]."),
        ("500", "HTTP 500: out of order.", "The server fails at its own work: look at its log"),
    ],
)
def test_a_server_that_refuses_everything_is_named_with_its_words_and_what_to_look_at(tmp_path, fault, reason, remedy):
    with scripted.process(scripted.Script(faults={fault: 1.0})) as server:
        words = said(tmp_path, server.url)
    assert words.startswith("0 judgments bought in ")
    assert words.count(reason) == 1
    assert words.index(reason) < words.index(remedy) < words.index("un the same command again")
    assert "0 verdicts" not in words and "$0.0000" not in words


def test_no_connection_asks_whether_the_server_is_running_at_its_address(tmp_path):
    words = said(tmp_path, "http://127.0.0.1:9/v1")
    assert "no connection to 127.0.0.1:9: connection refused." in words
    assert "Is the server running at http://127.0.0.1:9/v1? Start it, or mend url in [servers.s]." in words
    assert "un the same command again" in words


def test_a_server_that_wants_a_key_where_none_is_named_says_where_to_name_it(tmp_path):
    with scripted.process(scripted.Script(faults={"401": 1.0})) as server:
        assert "name the variable that holds it, api_key_env in [servers.s]." in said(tmp_path, server.url, "")


def test_where_many_fail_and_others_do_not_the_most_common_error_is_said_with_its_count(tmp_path):
    with scripted.process(scripted.Script(seed=1, faults={"html": 0.3, "big": 0.02})) as server:
        words = said(tmp_path, server.url)
        told = server.count().faults
    assert told["html"] > 10
    assert not words.startswith("0 judgments bought")
    assert "failed with: the reply is no chat completion (not JSON): <html>" in words
    assert "is not an OpenAI-compatible server, or not always: check url and its log." in words


def test_json_has_the_errors_with_their_counts_and_the_remedies(tmp_path):
    with scripted.process(scripted.Script(faults={"html": 1.0})) as server:
        told = json.loads(said(tmp_path, server.url, "THE_KEY", "--json"))
    [failure] = told["failures"]
    assert (failure["arms"], failure["count"], told["failed"]) == (["plain"], 60, 60)
    assert "is not an OpenAI-compatible server" in told["remedies"][0]


def test_errors_that_differ_in_their_numbers_alone_are_counted_as_one():
    tally = Tally(None)
    for error in ("HTTP 400: 5,012 tokens", "HTTP 400: 6,200 tokens", "HTTP 404: 12 tokens"):
        tally.add(Judgment(arm="x", ab=Outcome.FAILED, error=error), not_bought=False)
    tally.add(Judgment(arm="y", ab=Outcome.FAILED, error="HTTP 400: 7 tokens"), not_bought=False)
    tally.add(Judgment(arm="x", ab=Outcome.FAILED, error="not bought: the cap"), not_bought=True)
    assert tally.failures == (
        Failure("HTTP 400: 5,012 tokens", 3, ("x", "y")),
        Failure("HTTP 404: 12 tokens", 1, ("x",)),
    )


def test_the_kinds_of_errors_that_are_kept_are_bounded(monkeypatch):
    monkeypatch.setattr("adjudge.judging.progress.MOST_ERRORS", 3)
    tally = Tally(None)
    for letter in "abcdefgh":
        tally.add(Judgment(arm="x", ab=Outcome.FAILED, error=letter), not_bought=False)
    assert [f.error for f in tally.failures] == ["other errors", "a", "b", "c"]
    assert sum(f.count for f in tally.failures) == 8


def summary(bought: int = 10, failures: tuple[Failure, ...] = (), **outcomes: int) -> Summary:
    return Summary(
        run_id=1,
        bought=bought,
        skipped=0,
        failed=sum(f.count for f in failures),
        not_bought=0,
        left=0,
        interrupted=0,
        outcomes={Outcome(name): n for name, n in outcomes.items()},
        spend=Spend(*[0] * 7),
        seconds=1.0,
        failures=failures,
    )


SETTINGS = config.from_dict(
    {
        "servers": {"s": {"url": "http://h/v1", "api_key_env": "K"}, "kept": {"kind": "replay", "path": "x"}},
        "arms": {"plain": {"server": "s", "model": "m"}, "old": {"server": "kept"}},
    }
)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("HTTP 400: maximum context length is 4096 tokens", "do not fit into the model's context"),
        ("HTTP 413: too large", "leave the longest pairs out"),
        ("HTTP 429: You exceeded your quota", "the key in K has no quota left"),
        ("HTTP 429: slow down", "lower requests_per_minute or concurrency in [servers.s]"),
        ("no answer within deadline_s = 120", "lower concurrency or raise deadline_s in [servers.s]"),
        ("connection lost: reset", "look at its log, or lower concurrency"),
    ],
)
def test_an_error_is_answered_with_the_key_of_arms_toml_to_look_at(error, remedy):
    [line] = remedies(summary(failures=(Failure(error, 3, ("plain",)),)), SETTINGS)
    assert remedy in line


def test_an_error_that_names_its_own_remedy_gets_no_other():
    assert remedies(summary(failures=(Failure("the pair has no texts; give them", 3, ("plain",)),)), SETTINGS) == []
    assert remedies(summary(failures=(Failure("HTTP 404 as recorded", 3, ("old",)),)), SETTINGS) == []


def test_answers_that_are_mostly_cut_off_or_mostly_without_a_verdict_are_pointed_out():
    assert "raise max_tokens" in remedies(summary(A=4, truncated=6), SETTINGS)[0]
    assert "hold no verdict" in remedies(summary(A=4, unread=6), SETTINGS)[0]
    assert remedies(summary(A=6, truncated=2, unread=2), SETTINGS) == []
