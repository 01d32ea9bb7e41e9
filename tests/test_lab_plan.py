"""Plans of studies: figures by hand, against the paper's own, and what follows from turning a knob."""

import msgspec
import pytest
from click.testing import CliRunner

from adjudge.__main__ import program
from adjudge.errors import ConfigError
from adjudge.lab import preset as presets
from adjudge.lab.plan.costs import plan
from adjudge.lab.plan.lengths import world_lengths
from adjudge.lab.plan.machines import MACHINES, Rates, compute_s, serve, shape, step_s, training_gb

PAPER = presets.load("paper")
TOLERANCE = 1.6  # the plan's hours against the paper's, either way
A100 = MACHINES["a100"]
Q8 = shape("Qwen/Qwen3-8B")


@pytest.fixture(scope="module")
def planned():
    return plan(PAPER)


def row(made, name):
    return next(one for one in made.rows if one.name == name)


# -- the preset


def test_the_preset_says_what_the_paper_says():
    sft, judge = PAPER.judges["distilled-8b"].sft, PAPER.judges["distilled-rl-8b"].rl
    assert (sft.rate, sft.schedule, sft.warmup, sft.batch) == (1e-5, "linear", 0.03, 128)
    assert PAPER.judges["direct-8b"].sft.epochs in (1, 2) and sft.epochs in (2, 3)
    assert (judge.rate, judge.prompts, judge.group, judge.temperature) == (1e-6, 2048, 8, 1.0)
    assert (judge.clip, judge.clip_high, judge.kl, judge.max_tokens) == (0.2, 0.3, 0, 4096)
    for spec in PAPER.policies.values():
        rl = spec.rl
        assert (rl.rate, rl.prompts, rl.group, rl.temperature, rl.kl) == (1e-6, 1024, 8, 0.7, 0)
        assert (rl.max_tokens, rl.steps) == (2048, 1200)
    scale = PAPER.scale
    assert scale.minibatch == {"judge-grpo": 512, "policy-grpo": 256}
    assert (scale.gold.model, scale.gold.effort) == ("openai/gpt-oss-120b", "high")
    assert (scale.gold.temperature, scale.gold.max_tokens) == (0, 8192)
    drawing = scale.drawing
    assert (drawing.temperature, drawing.top_k, drawing.top_p, drawing.max_tokens) == (0.7, 20, 0.95, 4096)
    assert (PAPER.world.train, PAPER.world.test, PAPER.world.briefs, PAPER.world.held) == (164_000, 738, 117_000, 1_000)
    assert {scale.judges[n] for n in PAPER.judges} == {f"Qwen/Qwen3-{b}" for b in ("1.7B", "4B", "8B", "14B")}
    assert len(set(scale.policies.values())) == 3
    assert (scale.sites["policy-grpo"].gpus, scale.sites["policy-grpo"].servers) == (32, 32)


def test_every_kind_of_judge_of_the_paper_is_there():
    made = {(s.mode, s.rubric, bool(s.rl), bool(s.start), n in PAPER.scale.pairwise) for n, s in PAPER.judges.items()}
    assert ("direct", False, False, False, False) in made  # non-reasoning
    assert ("high", False, False, False, False) in made  # distilled
    assert ("high", False, True, True, False) in made  # distilled, then RL
    assert ("high", False, True, False, False) in made  # RL only
    assert ("direct", True, False, False, False) in made  # with a rubric
    assert {mode for mode, *_ in made} == {"direct", "low", "medium", "high"}
    assert ("high", False, True, True, True) in made  # of pairs


def test_what_a_stage_is_known_by_does_not_hang_on_the_scale():
    tiny = presets.load("tiny")
    assert msgspec.structs.replace(tiny, scale=PAPER.scale).key(0) == tiny.key(0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("minibatch =", "minibatches =", "did you mean 'minibatch'"),
        ('direct-8b = "Qwen/Qwen3-8B"\n', "", r"judges\.direct-8b"),
        ('pairwise = ["pairwise-direct-8b"', 'pairwise = ["direct"', "names no judge"),
        ("pairwise = true\n", "", "as its judge"),
    ],
)
def test_a_preset_that_contradicts_itself_is_refused(tmp_path, old, new, said):
    from importlib import resources

    text = (resources.files("adjudge.lab") / "presets" / "paper.toml").read_text()
    assert old in text
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=said):
        presets.load(str(tmp_path / "mine.toml"))


def test_a_model_of_unknown_shape_is_named():
    small = presets.load("small")
    other = msgspec.structs.replace(small, model=msgspec.structs.replace(small.model, path="some/model"))
    with pytest.raises(ConfigError, match="some/model"):
        plan(other)


# -- costs, by hand


def test_training_time_is_flop_over_what_the_gpus_reach():
    seconds = compute_s(Q8, 1e6, 8, A100, 8, Rates(mfu=0.5))
    assert seconds == pytest.approx(8 * 8.19e9 * 1e6 / (8 * 312e12 * 0.5))


def test_the_cache_of_a_token_of_qwen3_8b_is_144_kib():
    assert Q8.cache_bytes(A100) == 144 * 1024


def test_a_decoding_step_reads_the_weights_and_the_caches():
    rates = Rates(reach=0.5)
    alone, many = (step_s(Q8, n, 1000, A100, rates) for n in (1, 100))
    assert alone == pytest.approx((16.38e9 + 147_456_000) / (2039e9 * 0.5))
    assert many - alone == pytest.approx(99 * 147_456_000 / (2039e9 * 0.5))


def test_training_state_is_sixteen_bytes_a_weight_shared_by_all():
    one, all_ = (training_gb(Q8, 0, A100, gpus, recomputed=True) for gpus in (4, 8))
    assert one - all_ == pytest.approx(16 * 8.19 / 8)


def test_the_stragglers_alone_decide_how_long_one_reply_takes():
    short = serve(Q8, 1, 100, 50, 50, A100, 1, Rates())
    cut = serve(Q8, 1, 100, 50, 4096, A100, 1, Rates())
    assert cut.seconds - short.seconds == pytest.approx(4046 * step_s(Q8, 1, 4196, A100, Rates()))


def test_a_server_never_holds_more_than_its_memory():
    for machine in ("a100", "h100", "h200"):
        for model in ("Qwen/Qwen3-14B", "openai/gpt-oss-120b"):
            served = serve(shape(model), 10_000, 2000, 1000, 4096, MACHINES[machine], 32, Rates())
            assert served.memory_gb <= 0.9 * MACHINES[machine].memory_gb


# -- the plan


def test_the_plan_comes_near_the_papers_own_hours(planned):
    assert len(planned.held) == 3
    for one in planned.held:
        assert 1 / TOLERANCE <= one.ratio <= TOLERANCE, (one.said, one.planned_hours)


def test_calls_a_second_are_those_of_rollouts_over_the_time_of_a_step(planned):
    policy = row(planned, "policy-grpo llama-distilled-rl-8b")
    assert policy.calls == 1200 * 1024 * 8
    assert policy.calls_per_s == pytest.approx(policy.calls / (policy.hours * 3600))
    assert 22.8 / TOLERANCE <= policy.calls_per_s <= 22.8 * TOLERANCE  # 8,192 rollouts in the paper's 360 s


def test_a_judge_of_pairs_is_asked_seven_times_as_often(planned):
    rated, compared = (row(planned, f"policy-grpo llama-{j}") for j in ("distilled-rl-8b", "pairwise-rl-8b"))
    assert compared.calls == 7 * rated.calls
    assert 2 < compared.hours / rated.hours < 7  # the paper: about six times as long


def test_every_stage_of_the_paper_fits_its_gpus_and_none_is_free(planned):
    assert all(one.fits for one in planned.rows)
    assert all(one.hours > 0 and one.command for one in planned.rows)


def test_a_larger_model_a_smaller_gpu_count_and_a_lower_mfu_all_cost_more(planned):
    hours = [row(planned, f"judge-sft direct-{size}").hours for size in ("1_7b", "4b", "8b", "14b")]
    assert hours == sorted(hours)
    half = plan(PAPER, rates=Rates(mfu=Rates().mfu / 2))
    assert row(half, "judge-sft direct-8b").hours == pytest.approx(2 * row(planned, "judge-sft direct-8b").hours)
    assert plan(PAPER, "h200").gpu_hours < plan(PAPER, "h100").gpu_hours < planned.gpu_hours


def test_money_is_gpu_hours_times_their_price(planned):
    assert planned.usd is None
    assert plan(PAPER, price_usd=2.0).usd == pytest.approx(2 * planned.gpu_hours)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_planned_with_the_stages_that_it_has(name):
    preset = presets.load(name)
    made = plan(preset)
    names = [one.name for one in made.rows]
    assert len(names) == len(set(names))
    assert {f"agreement {judge}" for judge in preset.judges} <= set(names)
    assert {f"policy-grpo {policy}" for policy in preset.policies} <= set(names)
    assert made.gpu_hours > 0 and made.disk_gb > 0


def test_a_study_of_one_process_has_the_stages_that_it_runs():
    pytest.importorskip("torch", reason="the extra `lab` is not installed")
    from pathlib import Path

    from adjudge.lab.study.stages import stages

    tiny = presets.load("tiny")
    assert {one.name for one in plan(tiny).rows} == {stage.name for stage in stages(tiny, 0, Path("x"))}


def test_lengths_of_the_world_grow_with_effort():
    traces = world_lengths().traces
    assert traces["direct"] < traces["low"] < traces["medium"] < traces["high"]


# -- the command


def test_the_command_prints_one_object():
    done = CliRunner().invoke(program, ["lab", "plan", "paper", "--gpu", "h100", "--price", "2.5", "--json"])
    found = msgspec.json.decode(done.stdout)
    assert done.exit_code == 0 and found["machine"]["name"] == "h100"
    assert found["usd"] == pytest.approx(2.5 * sum(stage["gpu_hours"] for stage in found["stages"]))
    assert len(found["published"]) == 3 and found["unstated"]


@pytest.mark.parametrize("name", presets.names())
def test_the_command_shows_every_stage_with_its_command(name):
    done = CliRunner().invoke(program, ["lab", "plan", name])
    assert done.exit_code == 0
    for one in plan(presets.load(name)).rows:
        assert done.stdout.count(f" {one.name} ") >= 2  # in the table and among the commands


def test_a_study_that_is_too_large_is_not_begun(tmp_path):
    done = CliRunner().invoke(program, ["lab", "run", "paper", "--out", str(tmp_path)])
    assert isinstance(done.exception, ConfigError) and "lab plan paper" in str(done.exception)
    assert not list(tmp_path.iterdir())
