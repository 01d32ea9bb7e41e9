"""The lab's training: rewards by hand, exact repetition, going on after a kill, judges read as they write, and a whole
small study through the command line."""

import asyncio
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `lab` is not installed")
pytest.importorskip("trl", reason="the extra `lab` is not installed")

import torch
from safetensors.torch import load_file

from adjudge.errors import ConfigError, DataError
from adjudge.lab import preset
from adjudge.lab.models import small
from adjudge.lab.models.torch_judge import TorchJudge
from adjudge.lab.models.training import batched_alike, tokenized
from adjudge.lab.scoring import Asked
from adjudge.lab.study import judges, labels, stages, together
from adjudge.lab.world.wording import judge_prompt

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")

STUDY = """
name = "test"
about = "a test"
seeds = [0]
threads = 1
judge_tokens = 80
world = {{ train = 320, test = 12, briefs = 16, held = 6 }}

[model]
width = 32
layers = 2
heads = 2
primers = 24
texts = 60
forms = 10
priming = {{ rate = 3e-3, batch = 8 }}
training = {{ rate = 3e-3, batch = 8 }}
policy = {{ rate = 1e-3, batch = 8 }}

[judges.direct]
mode = "direct"
sft = {{ rate = 3e-3, batch = 8, save_steps = 2 }}

[policies.direct]
judge = "direct"
rl = {{ rate = 1e-3, steps = {steps}, prompts = 2, group = 4, max_tokens = 12, save_steps = 2 }}

[audit]
every = 1
sample = 4
"""


PADDED = {"return_tensors": "pt", "padding": True, "add_special_tokens": False}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A base model that knows the tokens, and nothing else."""
    folder = tmp_path_factory.mktemp("base")
    torch.set_num_threads(1)
    made = preset.Model(width=32, layers=2, heads=2, texts=40, forms=40)
    tokenizer = small.train_tokenizer(p + c for p, c in judges.base_examples(made, 0))
    small.save(small.new_model(tokenizer, 32, 2, 2, 0), tokenizer, folder)
    return folder


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


# -- rewards, by hand


def test_a_judges_reward_is_the_papers():
    assert judges.judge_rewards([9, 0, 5, None], [9, 9, 7, 3]) == [1.0, 0.0, (81 - 4) / 81, -1.0]


def test_agreement_counts_what_is_no_verdict_apart():
    from adjudge.lab.scoring import Score

    scores = [Score(9.0), Score(0.0), Score(None, "truncated"), Score(5.0)]
    found = judges.agreed(scores, [9, 0, 4, 5])
    assert found["alpha"] == 1.0 and found["verdicts"] == 0.75 and found["error"] == 0


def test_the_loss_counts_the_completion_and_its_end_alone(base):
    tokenizer = TorchJudge(base, "direct").tokenizer
    (row,) = list(tokenized(tokenizer, [("Brief: Say please.\nScore:", " 7")]))
    counted = [token for token in row["labels"] if token != -100]
    assert counted == row["input_ids"][-2:] == [tokenizer.encode(" 7")[0], tokenizer.eos_token_id]


# -- judges in this process


def test_a_direct_judges_value_is_the_expected_score(base):
    judge = TorchJudge(base, "direct")
    alike = torch.zeros(len(judge.tokenizer)).index_fill(0, judge.score_ids, 1.0)
    assert judge._direct(alike, 1).value == pytest.approx(4.5)  # the mean of 0 to 9
    likelier = alike.index_fill(0, judge.score_ids[7:8], 1.0 + math.log(2))
    assert judge._direct(likelier, 1).value == pytest.approx((45 + 7) / 11)


def test_a_direct_answer_that_is_no_score_is_unread(base):
    judge = TorchJudge(base, "direct")
    with torch.no_grad():
        judge.model.lm_head.weight.zero_()  # every token is as likely as any other, and the first is no score
    score = judge.score_now([Asked(id="1", prompt="Say please.", response="I saw a tea.")])[0]
    assert score.value is None and score.why == "unread"


@pytest.mark.parametrize(
    ("text", "value", "why"),
    [
        (" ok\nScore: 7", 7, ""),
        (" ok", None, "unread"),
        (" ok\nScore: 7\nScore: 8", None, "unread"),
        (" ok\nScore: 1 9", None, "unread"),
    ],
)
def test_a_reasoned_score_is_read_where_it_stands(base, text, value, why):
    judge = TorchJudge(base, "low")
    ids = torch.tensor([*judge.tokenizer.encode(text), judge.tokenizer.eos_token_id])
    logits = torch.nn.functional.one_hot(ids, len(judge.tokenizer)).float() * 50
    score = judge._reasoned(ids, logits, 5)
    assert (None if score.value is None else round(score.value), score.why) == (value, why)
    assert score.usage.output_tokens == len(ids)


def test_a_trace_that_does_not_end_is_truncated(base):
    judge = TorchJudge(base, "low")
    ids = torch.tensor(judge.tokenizer.encode(" ok\nScore: 7"))
    assert judge._reasoned(ids, torch.zeros(len(ids), len(judge.tokenizer)), 5).why == "truncated"


def test_padding_does_not_change_a_score(base):
    judge = TorchJudge(base, "direct")
    asked = [Asked(id="1", prompt="Say please.", response="I saw a tea. " * n) for n in (1, 6)]
    together = judge.score_now(asked)
    alone = [judge.score_now([one])[0] for one in asked]
    assert [s.text for s in together] == [s.text for s in alone]
    assert [s.usage for s in together] == [s.usage for s in alone]
    given = judge.tokenizer([judge_prompt(a.prompt, a.response, "direct") for a in asked], **PADDED)
    short = judge.tokenizer([judge_prompt(asked[0].prompt, asked[0].response, "direct")], **PADDED)
    padded, plain = (judge._at_score(one)[0][0] for one in (given, short))
    assert torch.allclose(padded, plain, atol=1e-4)


# -- the study


def test_a_batch_holds_examples_of_about_one_length_and_every_example_stands_once_an_epoch():
    rng = random.Random(0)
    lengths = [rng.choice((60, 80, 140, 180)) for _ in range(1003)]
    order = batched_alike(lengths, 16, 2, seed=3)
    assert sorted(order) == sorted([*range(1003)] * 2)
    batches = [[lengths[k] for k in order[at : at + 16]] for at in range(0, len(order), 16)]
    assert sum(len(b) * max(b) for b in batches) < 1.05 * 2 * sum(lengths)
    drawn = [lengths[k] for k in rng.sample(range(1003), 1003)]
    assert sum(16 * max(drawn[at : at + 16]) for at in range(0, 1000, 16)) > 1.4 * sum(lengths)  # without it
    assert [max(b) for b in batches] != sorted((max(b) for b in batches), reverse=True)
    assert len(batched_alike(lengths, 16, 0.5, seed=3)) == 502


def written(tmp_path, steps=3):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(steps=steps))
    return path


def cli(*words):
    return [sys.executable, "-m", "adjudge", *map(str, words)]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_a_study_killed_in_mid_stage_or_run_in_two_processes_ends_as_an_unbroken_one(tmp_path):
    path = written(tmp_path, steps=10)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(cli("lab", "run", path, "--out", whole), check=True, capture_output=True, env=ENVIRONMENT)
    process = subprocess.Popen(cli("lab", "run", path, "--out", broken), stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    checkpoints = broken / "seed-0" / "policies" / "direct" / "checkpoints"
    until = time.monotonic() + 300
    while not list(checkpoints.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (checkpoints.parent / "done.json").exists(), "killed too late to show anything"
    again = subprocess.run(
        cli("lab", "run", path, "--out", broken, "--json"), check=True, capture_output=True, env=ENVIRONMENT
    )
    policy = Path("seed-0") / "policies" / "direct"
    assert same(weights(whole / policy), weights(broken / policy))
    assert (whole / policy / "rollouts.jsonl").read_bytes() == (broken / policy / "rollouts.jsonl").read_bytes()
    figures = json.loads(again.stdout)["seeds"]["0"]
    assert {"annotate", "base", "policy-sft", "judge-sft direct", "agreement direct", "policy-grpo direct"} <= set(
        figures
    )
    steps = [json.loads(line)["step"] for line in (broken / policy / "figures.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 11), 10]  # each step once; the last line sums up
    beside = tmp_path / "beside"
    subprocess.run(
        cli("lab", "run", path, "--out", beside, "--jobs", "2"), check=True, capture_output=True, env=ENVIRONMENT
    )
    assert same(weights(whole / policy), weights(beside / policy))
    third = stages.run(preset.load(str(path)), 0, broken, lambda *_: pytest.fail("nothing was left to do"))
    assert third["annotate"]["judge_train"] == 320


@pytest.mark.slow
def test_ten_steps_of_grpo_are_the_same_for_the_same_seed(tmp_path, base):
    from adjudge.lab.audit.step import Plan
    from adjudge.lab.study import policies
    from adjudge.lab.world.program_gold import ProgramGold

    spec = preset.PolicySpec(
        judge="gold", rl=preset.Reinforcing(rate=1e-3, steps=10, prompts=2, group=4, max_tokens=12)
    )
    briefs = ["Say please.", "Mention the tea.", "Greet Anna.", "End with a question."]
    gold, plan = ProgramGold(), Plan(every=1, sample=4)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        policies.train_policy(spec, gold, gold, briefs, plan, base, tmp_path / name, seed=seed)
    kept = [(tmp_path / name / "rollouts.jsonl").read_bytes() for name in ("one", "two", "other")]
    assert kept[0] == kept[1] != kept[2]
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_a_stage_of_other_settings_is_refused(tmp_path):
    path = written(tmp_path)
    loaded = preset.load(str(path))
    stages.run(loaded, 0, tmp_path / "out", lambda *_: None, ("annotate",))
    path.write_text(path.read_text().replace("train = 320", "train = 321"))
    with pytest.raises(ConfigError, match="other settings"):
        stages.run(preset.load(str(path)), 0, tmp_path / "out", lambda *_: None, ("annotate",))


def test_a_stage_whose_input_is_missing_says_what_to_run(tmp_path):
    loaded = preset.load(str(written(tmp_path)))
    with pytest.raises(ConfigError, match="run the stages before this one"):
        stages.run(loaded, 0, tmp_path / "out", lambda *_: None, ("judge-sft",))
    with pytest.raises(ConfigError, match=r"seed 0, judge-sft direct: .*run the stages before this one"):
        together.run_together(loaded, [0], tmp_path / "out", 2, lambda *_: None, ("judge-sft",))


# -- presets and labels


@pytest.mark.parametrize("name", preset.names())
def test_the_presets_that_ship_are_whole(name):
    loaded = preset.load(name)
    assert loaded.name == name and set(loaded.ordered_judges()) == set(loaded.judges)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("threads = 1", "thread = 1", "did you mean 'threads'"),
        ('judge = "direct"', 'judge = "drect"', "no judge 'drect'"),
        ('mode = "direct"', 'mode = "slow"', "slow"),
        ('mode = "direct"', 'mode = "direct"\nstart = "none"', "no judge 'none' to start from; known: direct"),
        ('mode = "direct"', 'mode = "direct"\nstart = "direct"', "start goes in a circle"),
        ("sft = ", "rl = {}\nsft = ", "needs one of sft and rl"),
        ('name = "test"', "name = ", "cannot be read"),
    ],
)
def test_a_preset_that_cannot_be_is_refused_in_one_line(tmp_path, old, new, says):
    path = written(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=says):
        preset.load(str(path))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "1", "brief": "b", "response": "r"}', "missing required field `score`"),
        ('{"id": "1", "brief": "b", "response": "r", "score": 10}', "score 10 is not 0 to 9"),
        ('{"id": "1", "brief": "b"', "is no label"),
    ],
)
def test_a_bad_label_is_named_by_file_and_line(tmp_path, line, says):
    path = tmp_path / "judge_train.jsonl"
    path.write_text('{"id": "0", "brief": "b", "response": "r", "score": 3}\n' + line + "\n")
    with pytest.raises(DataError, match=f"judge_train.jsonl:2: .*{says}"):
        labels.read_labels(path)


def test_gold_that_labels_too_little_stops_the_study(tmp_path):
    from adjudge.lab.scoring import Score

    class Mute:
        name = "mute"

        async def score(self, asked):
            return [Score(None, "refused") for _ in asked]

    world = preset.World(train=8, test=4, briefs=4, held=2)
    with pytest.raises(DataError, match="gold labelled 0 of 8"):
        asyncio.run(labels.annotate(world, tmp_path, 0, {"high": Mute()}))


@pytest.mark.slow
def test_the_alarm_ends_a_training_that_is_gamed(tmp_path, base):
    from adjudge.lab.audit.step import Plan
    from adjudge.lab.scoring import Score
    from adjudge.lab.study import policies

    class Drifting:
        """Scores that rise, or fall, with every call."""

        def __init__(self, name, scores):
            self.name, self.scores = name, iter(scores)

        async def score(self, asked):
            value = next(self.scores)
            return [Score(min(9.0, max(0.0, value + 0.1 * (k % 2)))) for k, _ in enumerate(asked)]

    steps = 40
    judge = Drifting("judge", [3.0] * 8 + [8.0] * steps)
    gold = Drifting("gold", [6.0] * 8 + [1.0] * steps)
    rl = preset.Reinforcing(rate=1e-5, steps=steps, prompts=8, group=2, max_tokens=4)
    briefs = [f"Write {k} sentences." for k in range(2, 50)]
    spec = preset.PolicySpec(judge="judge", rl=rl)
    policies.train_policy(spec, judge, gold, briefs, Plan(every=1, sample=8), base, tmp_path / "run", seed=0, stop=True)
    last = max(r.step for r in policies.read_rollouts(tmp_path / "run" / policies.ROLLOUTS))
    assert 8 < last < steps - 1
