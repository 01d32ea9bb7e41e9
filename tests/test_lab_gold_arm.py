"""An arm as gold of a study: it labels, teaches, audits and scores the held-out; what it cost is in the figures, to the
token that its server billed; and a study without one is what it always was."""

import asyncio
import json
import math

import pytest

pytest.importorskip("torch", reason="the extra `lab` is not installed")
pytest.importorskip("trl", reason="the extra `lab` is not installed")

from adjudge.__main__ import main
from adjudge.errors import ConfigError, RewardError
from adjudge.lab import preset
from adjudge.lab.audit.rollouts import read_rollouts
from adjudge.lab.report.readings import read_study
from adjudge.lab.scoring import Asked
from adjudge.lab.study import gold, labels
from tests import scripted

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

STUDY = """
name = "test"
about = "a test"
seeds = [0]
threads = 1
judge_tokens = 40
world = { train = 24, test = 8, briefs = 6, held = 6 }
gold = { arms = "gold/arms.toml", arm = "gold" }
model = { width = 16, layers = 1, heads = 1, texts = 24, forms = 4, training = { rate = 1e-3, batch = 8 } }
audit = { every = 1, sample = 3 }

[judges]
direct = { mode = "direct", sft = { rate = 1e-3, batch = 8 } }
taught = { mode = "high", sft = { rate = 1e-3, batch = 8 } }

[policies]
gold = { judge = "gold", rl = { rate = 1e-3, steps = 2, prompts = 2, group = 2, max_tokens = 6 } }
"""
ARMS = """
[servers.s]
url = "{url}"
retries = 8

[arms.gold]
server = "s"
model = "m"
protocol = "pointwise"
mode = "reasoning"
max_tokens = 60
{price}

[arms.hasty]
like = "gold"
effort = "low"

[arms.pairs]
like = "gold"
protocol = "pairwise"
"""
PRICE = "price = { input = 2.0, output = 8.0 }"
SAYS = ("[[3]]", "[[5]]", "[[8]]")
THOUGHT = "A looks better. [[B]] No: the other one."
ONE = Asked("1", "Say please.", "Please look.")


def written(folder, url="http://127.0.0.1:1/v1", price=PRICE, **changes):
    """A study's file, with the arms.toml of its gold below it."""
    (folder / "gold").mkdir(exist_ok=True)
    (folder / "gold" / "arms.toml").write_text(ARMS.format(url=url, price=price))
    text = STUDY
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    (folder / "study.toml").write_text(text)
    return str(folder / "study.toml")


def run(capsys, *words):
    """(exit code, stdout, stderr) of a command."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, words)))
    said = capsys.readouterr()
    return ended.value.code, said.out, said.err


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(folder, figures, the server's books) of a study whose gold, an arm, fails or says nothing now and then."""
    folder = tmp_path_factory.mktemp("study")
    script = scripted.Script(says=SAYS, reasoning="reasoning_content", faults={"500": 0.1, "empty": 0.4})
    with scripted.process(script) as server, pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("click.echo", lambda text, **_: said.append(text))
        with pytest.raises(SystemExit) as ended:
            main(["lab", "run", written(folder, server.url), "--out", str(folder / "out"), "--json"])
        assert ended.value.code == 0, said
        return folder, json.loads(said[-1])["seeds"]["0"], server.count()


def test_labels_and_traces_are_the_arms_and_what_it_gives_no_verdict_on_is_left_out_and_counted(study):
    folder, figures, _ = study
    taken = figures["annotate"]
    found = labels.read_labels(folder / "out" / "seed-0" / "labels" / labels.FILES[0])
    assert {label.score for label in found} <= {3, 5, 8}
    assert {tuple(label.traces.items()) for label in found} == {(("high", THOUGHT),)}
    assert taken["judge_train"] + taken["judge_test"] == 32 - taken["gold_no_verdict"]
    assert taken["gold_bought"] == 32 and taken["gold_no_verdict"] > 0
    assert len(found) == taken["judge_train"]


def test_what_gold_cost_is_what_its_server_billed(study):
    _, figures, books = study
    bills = [figures[stage] for stage in ("annotate", "policy-grpo gold", "audit gold")]
    total = {key: math.fsum(bill[key] for bill in bills) for key in bills[0] if key.startswith("gold_")}
    assert total["gold_requests"] == books.calls
    assert total["gold_prompt_tokens"] == books.prompt_tokens
    assert total["gold_output_tokens"] == books.output_tokens
    assert total["gold_usd"] == pytest.approx((2 * books.prompt_tokens + 8 * books.output_tokens) / 1e6)
    assert books.faults.keys() == {"500", "empty"}, "the script did not do what the test is about"


def test_the_arm_judges_rollouts_and_held_out_responses_and_no_text_twice(study):
    folder, figures, _ = study
    root = folder / "out" / "seed-0"
    rollouts = list(read_rollouts(root / "policies" / "gold" / "rollouts.jsonl"))
    judged = [r for r in rollouts if r.gold is not None]
    assert judged and all(r.gold == r.proxy in (3, 5, 8) for r in judged), "proxy and gold are one arm"
    kept = lines(root / "policies" / "gold" / "gold.jsonl")
    final = [line["key"] for line in kept if line.get("why") != "failed"]
    assert len(final) == len(set(final))
    assert 3 <= figures["policy-grpo gold"]["end_gold"] <= 8
    assert figures["audit gold"]["audits"] == 2


def test_a_study_that_is_done_asks_nothing_again_and_its_report_reads_it(study, capsys):
    folder, figures, _ = study  # the server is gone
    code, out, _ = run(capsys, "lab", "run", folder / "study.toml", "--out", folder / "out", "--json")
    assert (code, json.loads(out)["seeds"]["0"]) == (0, figures)
    code, out, _ = run(capsys, "lab", "run", folder / "study.toml", "--out", folder / "out")
    assert code == 0 and "What gold cost" in out
    assert read_study(preset.load(str(folder / "study.toml")), folder / "out").held["gold"][0]["end_gold"]


def test_another_arm_is_another_study(study):
    folder, _, _ = study
    one = preset.load(str(folder / "study.toml"))
    text = (folder / "gold" / "arms.toml").read_text()
    (folder / "gold" / "other.toml").write_text(text.replace("max_tokens = 60", "max_tokens = 61"))
    (folder / "other.toml").write_text((folder / "study.toml").read_text().replace("arms.toml", "other.toml"))
    other = preset.load(str(folder / "other.toml"))
    assert other.key(0) != one.key(0)
    assert other.judge_key("direct", 0) != one.judge_key("direct", 0)
    assert other.policy_key("gold", 0) != one.policy_key("gold", 0)
    (folder / "gold" / "other.toml").write_text(text.replace("127.0.0.1", "localhost"))
    assert preset.load(str(folder / "other.toml")).key(0) == one.key(0), "a server may move"


def test_keys_without_a_gold_arm_are_what_they_were_before_there_could_be_one():
    smoke = preset.load("smoke")
    assert smoke.key(0) == "25e810c8343f8f9bfd0b0f69e02e7fa8"
    assert smoke.judge_key("distilled-rl", 0) == "2d5cebd4ed8a53e6683e2e3bca950526"
    assert smoke.policy_key("distilled-rl", 0) == "023489e2d4e41db6b0975185abc3e04b"


# -- one judge, without a study


def asked_of(gold_arm, *some):
    try:
        return asyncio.run(gold_arm.score(some))
    finally:
        gold_arm.close()


def made(folder, url, stage="one", price=PRICE):
    """Gold of a stage."""
    (folder / stage).mkdir(exist_ok=True)
    return gold.gold_of(preset.load(written(folder, url, price)), folder / stage)


def billed(folder, stage="one"):
    return gold.bill(preset.load(str(folder / "study.toml")), folder / stage)


def test_a_stage_that_was_killed_asks_for_the_rest_alone(tmp_path):
    others = [Asked(str(k), "Say please.", f"Please look {k}.") for k in range(4)]
    with scripted.process(scripted.Script(says=SAYS)) as server:
        first = asked_of(made(tmp_path, server.url), *others[:2])
        with open(tmp_path / "one" / gold.GOLD, "ab") as file:
            file.write(b'{"key": "half a li')
        again = asked_of(made(tmp_path, server.url), *others)
        assert server.count().calls == 4
    assert [score.value for score in again[:2]] == [score.value for score in first]
    assert [score.cached for score in again] == [True, True, False, False]
    assert billed(tmp_path)["gold_requests"] == 4


def test_what_another_stage_of_its_kind_has_bought_is_not_bought_again(tmp_path):
    with scripted.process(scripted.Script(says=SAYS)) as server:
        (first,) = asked_of(made(tmp_path, server.url, "one"), ONE)
        (again,) = asked_of(made(tmp_path, server.url, "two"), ONE)
        assert server.count().calls == 1
    assert (again.value, again.cached) == (first.value, True)
    assert (billed(tmp_path, "one")["gold_bought"], billed(tmp_path, "two")["gold_bought"]) == (1, 0)


def test_a_failure_is_asked_again_and_an_unread_answer_is_not(tmp_path):
    with scripted.process(scripted.Script(faults={"400": 1.0})) as server:
        (failed,) = asked_of(made(tmp_path, server.url), ONE)
    with scripted.process(scripted.Script(says=("Hm.",))) as server:
        (unread,) = asked_of(made(tmp_path, server.url), ONE)
        (still,) = asked_of(made(tmp_path, server.url), ONE)
        assert server.count().calls == 2, "the question, and its repair"
    assert [s.why for s in (failed, unread, still)] == ["failed", "unread", "unread"]
    assert "unknown field" in failed.text


def test_an_arm_without_a_price_says_its_tokens_and_no_dollars(tmp_path):
    with scripted.process(scripted.Script(says=SAYS)) as server:
        asked_of(made(tmp_path, server.url, price=""), ONE)
    bill = billed(tmp_path)
    assert bill["gold_output_tokens"] > 0 and "gold_usd" not in bill


def test_gold_that_says_nothing_any_more_is_not_asked_for_ever(tmp_path):
    many = [Asked(str(k), "Say please.", f"Please look {k}.") for k in range(4 * gold.SILENT)]
    with scripted.process(scripted.Script(says=("Hm.",))) as server:
        with pytest.raises(RewardError, match=r"gold, the arm gold, gave no verdict on any of the last 1\d\d .*unread"):
            asked_of(made(tmp_path, server.url), *many)
        assert server.count().calls < 2 * (gold.SILENT + 64 + 1), "each question and its repair; 64 were under way"


def test_gold_never_costs_a_stage_more_than_its_cap_and_goes_on_when_that_is_raised(tmp_path, capsys):
    cap_usd = 0.03  # one rating costs 0.014 dollars at most, a tenth of that really
    capped = {"gold": ('arm = "gold" }', f'arm = "gold", cap_usd = {cap_usd} }}')}
    with scripted.process(scripted.Script(says=SAYS, reasoning="reasoning_content")) as server:
        path = written(tmp_path, server.url, **capped)
        code, _, said = run(capsys, "lab", "annotate", path, "--out", tmp_path / "out")
        assert code == 2 and said.splitlines()[-1].endswith("a stage; raise it to go on from here")
        folder = tmp_path / "out" / "seed-0" / "labels"
        spent = sum(one.cost_usd for one in gold.read_gold(folder / gold.GOLD))
        assert cap_usd / 3 < spent <= cap_usd
        calls = server.count().calls
        written(tmp_path, server.url)
        assert run(capsys, "lab", "annotate", path, "--out", tmp_path / "out")[0] == 0
        assert calls < server.count().calls == 32, "what was bought is not bought again"


def test_a_cap_on_a_gold_without_a_price_is_refused(tmp_path):
    made_of = {"gold": ('arm = "gold" }', 'arm = "gold", cap_usd = 1.0 }')}
    found = preset.load(written(tmp_path, price="", **made_of))
    with pytest.raises(ConfigError, match=r"gold\.cap_usd: arms\.gold has no price"):
        gold.gold_of(found, tmp_path)


def test_each_effort_is_an_arm_and_its_trace_is_kept_where_the_score_is_the_same(tmp_path):
    text = 'gold = { arms = "gold/arms.toml", arm = "gold" }'
    efforts = (text, text.replace(" }", ', efforts = { low = "hasty" } }'))
    with scripted.process(scripted.Script(says=SAYS, reasoning="reasoning_content")) as server:
        loaded = preset.load(written(tmp_path, server.url, efforts=efforts))
        (tmp_path / "labels").mkdir()
        with gold.golds(loaded, tmp_path / "labels") as found:
            assert list(found) == ["low", "high"]
            asyncio.run(labels.annotate(loaded.world, tmp_path / "labels", 0, found))
        assert server.count().calls == 2 * 32
    traces = [set(label.traces) for label in labels.read_labels(tmp_path / "labels" / labels.FILES[0])]
    assert {"high"} in traces and {"low", "high"} in traces


# -- what cannot be


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('arm = "gold"', 'arm = "glod"', "no arm 'glod'; did you mean 'gold'"),
        ('"gold/arms.toml"', '"arms.toml"', "arms.toml: no such file"),
        ('arm = "gold"', 'amr = "gold"', "unknown field `amr`.*did you mean 'arm'"),
        ('mode = "high"', 'mode = "low"', "judges.taught: gold has no arm of effort 'low'.*gold.efforts.low"),
    ],
)
def test_a_gold_that_is_not_there_is_named(tmp_path, old, new, says):
    with pytest.raises(ConfigError, match=says):
        preset.load(written(tmp_path, change=(old, new)))


def test_an_arm_that_compares_is_no_gold(tmp_path):
    loaded = preset.load(written(tmp_path, change=('arm = "gold"', 'arm = "pairs"')))
    with pytest.raises(ConfigError, match="pairs compares responses"):
        gold.gold_of(loaded, tmp_path)


def test_a_gold_that_refuses_ends_the_study_in_one_line(tmp_path, capsys):
    with scripted.process(scripted.Script(faults={"400": 1.0})) as server:
        code, _, err = run(capsys, "lab", "annotate", written(tmp_path, server.url), "--out", tmp_path / "out")
    assert code == 2
    assert "gold labelled 0 of 24 items (24 failed); the first says: " in err.splitlines()[-1]
    assert "unknown field" in err.splitlines()[-1]


def test_a_judge_cannot_be_taught_to_reason_by_a_gold_that_does_not(tmp_path, capsys):
    with scripted.process(scripted.Script(says=SAYS)) as server:
        words = ("lab", "run", written(tmp_path, server.url), "--out", tmp_path / "out")
        code, _, err = run(capsys, *words)
    assert code == 2
    assert "no trace of effort 'high' stands on any of 24 labels; let gold reason" in err.splitlines()[-1]
