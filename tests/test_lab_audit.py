"""The audit: its sample, its figures against other means of getting them, and that a restart asks nothing again."""

import asyncio
import json
from types import SimpleNamespace

import krippendorff
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adjudge.errors import ConfigError, DataError
from adjudge.lab.audit import alarm
from adjudge.lab.audit.auditor import AUDIT, AUDITED, Auditor, audit_file
from adjudge.lab.audit.rollouts import Rollout, append_rollouts
from adjudge.lab.audit.step import Asking, Plan, drawn, look, mean_of, measure, rank
from adjudge.lab.scoring import Score
from adjudge.types import Usage

PLAN = Plan(every=5, sample=8)


class Gold:
    """Scores a response by the number it begins with; "?" is no verdict. Counts what it is asked, and the event loops
    that it is asked in: a judge with connections can have one alone."""

    name = "gold"

    def __init__(self):
        self.asked: list[str] = []
        self.loops: set[int] = set()

    async def score(self, asked):
        self.asked += [one.id for one in asked]
        self.loops.add(id(asyncio.get_running_loop()))
        return [self._one(one.response) for one in asked]

    @staticmethod
    def _one(response):
        word = response.split()[0]
        value = None if word == "?" else float(word)
        return Score(value, why="" if value is not None else "unread", usage=Usage(50, 20), cost_usd=0.01)


def rollouts(step, golds, *, group=2, proxy=None, **fields):
    """One rollout per score that gold will give; `group` of them answer each prompt."""
    return [
        Rollout(
            step=step,
            id=f"{step}-{i}",
            prompt=f"prompt {step} {i // group}",
            group=f"{step}-{i // group}",
            response=f"{g} and some words of {i}",
            proxy=5.0 if proxy is None else proxy[i],
            tokens=6,
            **fields,
        )
        for i, g in enumerate(golds)
    ]


def auditor(folder, gold, plan=PLAN, steps=50):
    return Auditor(folder, gold, plan, plan.watch(steps))


def audit(auditor, whole):
    return asyncio.run(auditor.step(whole))


def test_the_sample_is_the_same_whatever_the_order_and_takes_every_prompt_before_a_second_rollout_of_one():
    whole = rollouts(0, range(9), group=3) + rollouts(0, range(3), group=1)[:0]
    sample = drawn(whole, Plan(sample=5))
    assert drawn(whole[::-1], Plan(sample=5)) == sample
    assert len({r.group for r in sample[:3]}) == 3
    assert len(drawn(whole, Plan(sample=99))) == 9
    assert {tuple(r.id for r in drawn(whole, Plan(sample=5, seed=s))) for s in range(20)} != {
        tuple(r.id for r in sample)
    }


def test_each_rollout_of_a_prompt_is_drawn_equally_often():
    counts = np.zeros(4)
    for seed in range(800):
        (one,) = drawn(rollouts(0, range(4), group=4), Plan(sample=1, seed=seed))
        counts[int(one.id.split("-")[1])] += 1
    assert stats.chisquare(counts).pvalue > 0.001


def test_figures_of_a_step_by_hand():
    whole = rollouts(5, [1, 3, 5, 7], proxy=[2.0, 4.0, 6.0, None], start_nll=9.0, policy_nll=6.0)
    whole = [msgspec.structs.replace(r, gold=float(r.response[0])) for r in whole[:3]] + whole[3:]
    found = measure(whole, Plan(words=2), asking=Asking(3))
    assert (found.step, found.rollouts, found.proxied, found.audited) == (5, 4, 3, 3)
    assert found.proxy.value == 4.0
    assert found.gold.value == 3.0
    assert found.rank == pytest.approx(1.0)
    assert found.distance == pytest.approx(3.0 / 6)
    assert (found.tokens, found.words) == (6.0, 6.0)
    assert found.repeated == 0
    # the last response per prompt, "3 and some words of 1" and "7 and some words of 3": 10 bigrams, 3 of them twice
    assert found.distinct == pytest.approx(0.7)
    assert found.divergence == 0
    assert set(found.flagged.values()) == {0.0}


def test_divergence_is_the_difference_of_rises_in_standard_deviations_of_the_start():
    start = rollouts(0, [1, 2, 1, 2], proxy=[2, 4, 2, 4])
    later = rollouts(5, [0, 1, 0, 1], proxy=[6, 8, 6, 8])
    start, later = ([msgspec.structs.replace(r, gold=float(r.response[0])) for r in whole] for whole in (start, later))
    first = measure(start, PLAN, asking=Asking())
    now = measure(later, PLAN, asking=Asking(), first=first)
    assert now.divergence == pytest.approx(4 / np.std([2, 4, 2, 4], ddof=1) + 1 / np.std([1, 2, 1, 2], ddof=1))


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9)), min_size=3, max_size=20))
def test_agreement_is_that_of_the_libraries_and_none_where_nothing_differs(pairs):
    both = np.array(pairs, float)
    found = rank(both)
    if np.ptp(both, axis=0).min() > 0:
        assert found == pytest.approx(stats.spearmanr(*both.T).statistic)
    else:
        assert found is None
    judged = [
        msgspec.structs.replace(r, gold=gold)
        for r, (_, gold) in zip(rollouts(0, [1] * len(both), proxy=both[:, 0]), pairs, strict=True)
    ]
    alpha = measure(judged, Plan(sample=len(both)), asking=Asking()).alpha
    if np.ptp(both) > 0:
        assert alpha == pytest.approx(
            krippendorff.alpha(reliability_data=both.T.tolist(), level_of_measurement="interval")
        )
        assert alpha <= 1
    else:
        assert alpha is None


def test_the_interval_of_one_rollout_per_prompt_is_students_and_repeats_of_a_prompt_do_not_shrink_it():
    values = [3.0, 4.0, 2.5, 6.0, 3.0, 5.0, 4.5, 3.5]
    alone = mean_of([(str(i), x) for i, x in enumerate(values)], 0.95, 9)
    low, high = stats.t.interval(0.95, 7, np.mean(values), stats.sem(values))
    assert (alone.value, alone.low, alone.high) == pytest.approx((np.mean(values), low, high))
    repeated = mean_of([(str(i), x) for i, x in enumerate(values) for _ in range(8)], 0.95, 9)
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_an_interval_holds_its_mean_stays_in_range_and_few_equal_scores_do_not_make_it_narrow(values):
    found = mean_of([(str(i), float(x)) for i, x in enumerate(values)], 0.95, 9)
    assert 0 <= found.low <= found.value <= found.high <= 9
    assert found.high - found.low > 0.5
    assert mean_of([], 0.95, 9) is None


def test_the_alarm_sees_one_mean_per_prompt_that_has_both_scores():
    whole = rollouts(0, [0] * 6, proxy=[1, 3, 4, 4, None, None])
    whole = [msgspec.structs.replace(r, gold=g) for r, g in zip(whole, [2.0, None, None, None, 9.0, None], strict=True)]
    seen = look(whole, PLAN)
    assert (seen.gold_N.tolist(), seen.proxy_N.tolist()) == ([2.0], [2.0])
    alone = look(whole, Plan(proxy_level=False))
    assert (alone.gold_N.tolist(), alone.proxy_N.tolist()) == ([2.0, 9.0], [])


def test_a_step_is_audited_once_and_a_restart_asks_nothing_again(tmp_path):
    gold, whole = Gold(), [rollouts(s, [s % 9, 4, 5, "?", 7, 8, 1, 2, 3, 4]) for s in (0, 5, 10)]
    first = auditor(tmp_path, gold)
    found = [audit(first, w) for w in whole]
    assert len(gold.asked) == 3 * PLAN.sample
    assert [f.figures.audited + f.figures.asking.unread for f in found] == [8, 8, 8]
    again = auditor(tmp_path, gold)
    assert [audit(again, w) for w in whole] == found
    assert again.audits == first.audits == tuple(found)
    assert len(gold.asked) == 3 * PLAN.sample


def test_what_gold_has_judged_is_kept_when_the_run_dies_before_its_line_is_written(tmp_path):
    gold, whole = Gold(), rollouts(0, range(8))
    whole_figures = audit(auditor(tmp_path / "whole", Gold()), whole).figures
    audit(auditor(tmp_path, gold), whole)
    line = (tmp_path / AUDIT).read_bytes()
    (tmp_path / AUDIT).write_bytes(line[: len(line) // 2])
    judged = (tmp_path / AUDITED).read_bytes()
    (tmp_path / AUDITED).write_bytes(judged + judged[:50])  # and half a rollout more
    found = audit(auditor(tmp_path, gold), whole).figures
    assert len(gold.asked) == 8
    assert msgspec.structs.replace(found, asking=whole_figures.asking) == whole_figures
    assert found.asking.calls == 0


def test_a_training_that_went_another_way_since_is_audited_anew_from_there(tmp_path):
    gold = Gold()
    first = auditor(tmp_path, gold)
    for step in (0, 5, 10):
        audit(first, rollouts(step, range(8)))
    second = auditor(tmp_path, gold)
    audit(second, rollouts(5, range(1, 9)))
    assert [a.figures.step for a in second.audits] == [0, 5]
    assert len(gold.asked) == 4 * 8
    assert [a.figures.step for a in auditor(tmp_path, gold).audits] == [0, 5]


def test_other_settings_are_refused_and_scores_out_of_range_are_named(tmp_path):
    audit(auditor(tmp_path, Gold()), rollouts(0, range(8)))
    with pytest.raises(ConfigError, match="other settings"):
        auditor(tmp_path, Gold(), Plan(every=7, sample=8))
    (tmp_path / AUDIT).write_text("nonsense\n")
    with pytest.raises(DataError, match=r"audit.jsonl:1: is no audit"):
        auditor(tmp_path, Gold())
    with pytest.raises(DataError, match="proxy score 81 at step 0"):
        audit(auditor(tmp_path / "b", Gold()), rollouts(0, [1, 2], proxy=[81.0, 81.0]))


def test_gold_that_never_gives_a_verdict_is_counted_and_raises_no_alarm(tmp_path):
    run = auditor(tmp_path, Gold())
    for step in range(0, 60, 5):
        found = audit(run, rollouts(step, ["?"] * 8))
    assert found.figures.gold is None
    assert found.figures.asking.unread == 8
    assert not found.verdict.raised
    assert not found.best


def hacked(step, rng, prompts=24):
    """Gold falls from step 40 on while the proxy rises."""
    gold = np.interp(step, [0, 40, 80], [4, 6, 2])
    golds = np.clip(np.round(rng.normal(gold, 1.5, prompts)), 0, 9).astype(int).tolist()
    proxy = np.clip(rng.normal(np.interp(step, [0, 80], [4, 8]), 1, prompts), 0, 9).tolist()
    return rollouts(step, golds, group=1, proxy=proxy)


def test_a_hacked_training_raises_the_alarm_and_its_best_step_is_near_the_peak(tmp_path):
    rng, run = np.random.default_rng(0), auditor(tmp_path, Gold(), Plan(every=5, sample=24), steps=120)
    for step in range(0, 120, 5):
        audit(run, hacked(step, rng))
    summary = run.summary(judge_output_tokens=24 * 120 * 10, judge_usd=5.76)
    assert 45 <= summary.raised_at <= 110
    assert 25 <= summary.best_step <= 55
    assert (summary.audits, summary.gold_calls) == (24, 24 * 24)
    assert summary.judged_share == pytest.approx(1 / 5)
    assert summary.tokens_share == pytest.approx(20 / 10 / 5)
    assert summary.usd_share == pytest.approx(1.0)


def test_a_file_of_rollouts_is_audited_like_the_training_was_and_gold_that_it_holds_is_not_asked_for(tmp_path):
    rng = np.random.default_rng(1)
    steps = [hacked(step, rng, 8) for step in range(12)]
    live, gold = auditor(tmp_path / "live", Gold()), Gold()
    for whole in steps:
        append_rollouts(whole, tmp_path / "rollouts.jsonl")
        if live.due(whole[0].step):
            audit(live, whole)
    later = auditor(tmp_path / "later", gold)
    assert asyncio.run(audit_file(tmp_path / "rollouts.jsonl", later)).judged_share == pytest.approx(3 / 12)
    assert later.audits == live.audits
    assert [a.figures.step for a in later.audits] == [0, 5, 10]
    judged = [msgspec.structs.replace(r, gold=float(r.response[0])) for whole in steps for r in whole]
    append_rollouts(judged, tmp_path / "judged.jsonl")
    told = Auditor(tmp_path / "told", None, PLAN, PLAN.watch(50))
    summary = asyncio.run(audit_file(tmp_path / "judged.jsonl", told))
    assert [a.figures.audited for a in told.audits] == [8] * 12
    assert (summary.judged, summary.judged_share, summary.gold_calls) == (96, 1.0, 0)
    with pytest.raises(ConfigError, match="name a gold judge"):
        audit(Auditor(tmp_path / "none", None, PLAN, PLAN.watch(50)), steps[0])


@pytest.mark.parametrize("bad", [{"every": 0}, {"sample": 0}, {"words": 0}])
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(ConfigError):
        Plan(**bad)


def trained(tmp_path, on_alarm, steps=120):
    """A training of made-up rollouts, one state and control as the trainer keeps them: (callback, state, control)."""
    callback_module = pytest.importorskip("adjudge.lab.audit.callback")
    rng = np.random.default_rng(0)
    book = {step: hacked(step, rng) for step in range(steps)}
    logs = []
    gold = Gold()
    run = auditor(tmp_path / "audit", gold, Plan(every=5, sample=24), steps=steps)
    callback = callback_module.AuditCallback(run, lambda s: book[s], on_alarm=on_alarm, log=logs.append)
    args = SimpleNamespace(output_dir=str(tmp_path))
    state = SimpleNamespace(global_step=0, best_global_step=None, best_model_checkpoint=None, best_metric=None)
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    for step in range(1, steps + 1):
        state.global_step, control.should_save = step, False
        callback.on_step_end(args, state, control)
        if control.should_save:
            (tmp_path / f"checkpoint-{step}").mkdir()
        if control.should_training_stop:
            break
    callback.on_train_end(args, state, control)
    assert len(gold.loops) == 1
    return callback_module, state, logs


def test_the_callback_stops_at_the_alarm_and_names_the_checkpoint_of_the_best_gold(tmp_path):
    module, state, logs = trained(tmp_path, "stop")
    assert 46 <= state.global_step <= 111
    assert [entry["audit/alarm"] for entry in logs] == [0.0] * (len(logs) - 1) + [1.0]
    assert {"audit/gold", "audit/proxy", "audit/flagged/template"} <= set(logs[0])
    best = module.best_checkpoint(tmp_path)
    assert str(best) == state.best_model_checkpoint == str(tmp_path / f"checkpoint-{state.best_global_step}")
    assert 25 <= json.loads((tmp_path / "best.json").read_text())["step"] <= 55
    best.rmdir()
    assert module.best_checkpoint(tmp_path) is None
    assert module.best_checkpoint(tmp_path / "none") is None


def test_the_callback_that_only_marks_goes_on_and_audits_each_nth_step_alone(tmp_path):
    _, state, logs = trained(tmp_path, "mark", steps=90)
    assert state.global_step == 90
    assert len(logs) == 18
    assert logs[-1]["audit/alarm"] == 1.0


def test_an_alarm_state_is_rebuilt_from_the_record_exactly(tmp_path):
    rng, run = np.random.default_rng(2), auditor(tmp_path, Gold(), Plan(every=5, sample=16), steps=60)
    for step in range(0, 60, 5):
        audit(run, hacked(step, rng, 16))
    again = auditor(tmp_path, Gold(), Plan(every=5, sample=16), steps=60)
    assert again.audits == run.audits
    assert again._state.verdict == run._state.verdict
    assert isinstance(again._state, alarm.State)


@pytest.mark.slow
def test_a_trainer_stops_at_the_alarm_and_keeps_the_best_checkpoint_through_rotation(tmp_path):
    transformers = pytest.importorskip("transformers")
    module = pytest.importorskip("adjudge.lab.audit.callback")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=16, **sizes))
    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=120,
        per_device_train_batch_size=1,
        save_steps=5,
        save_total_limit=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = transformers.Trainer(model, settings, train_dataset=[{"input_ids": [1, 2], "labels": [1, 2]}] * 200)
    rng, plan = np.random.default_rng(0), Plan(every=5, sample=24)
    book = [hacked(step, rng) for step in range(120)]
    run = auditor(tmp_path / "audit", Gold(), plan, steps=120)
    trainer.add_callback(module.AuditCallback(run, lambda step: book[step], log=trainer.log))
    trainer.train()
    assert 46 <= trainer.state.global_step <= 111
    best = module.best_checkpoint(tmp_path / "out")
    assert best is not None
    assert (best / "model.safetensors").exists()
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) <= 3
    assert [entry["audit/alarm"] for entry in trainer.state.log_history if "audit/alarm" in entry][-1] == 1.0
