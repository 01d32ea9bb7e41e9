"""Findings: estimates that pay for what they choose, roles told by how a judge is made, and the rule for each claim."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adjudge.errors import ConfigError, DataError
from adjudge.lab import preset
from adjudge.lab.audit.alarm import Look
from adjudge.lab.preset import JudgeSpec
from adjudge.lab.report import estimates
from adjudge.lab.report.estimates import Measured, difference, fall, interval, over_seeds, rise
from adjudge.lab.report.findings import findings, judged, together
from adjudge.lab.report.readings import read_study
from adjudge.lab.report.roles import judge_of, policy_of, role
from adjudge.metrics import Estimate
from tests.lab_studies import ALPHAS, COURSES, PRESET, RL, SFT, hacked, holding, idle, write_study

LETTERS = ("a", "b", "c", "d", "e", "f")


def looks(course, rng, steps=24, prompts=8):
    """Looks of a training whose gold goes like `course` (of the step), with noise of a prompt and of a response."""
    return [
        Look(t, course(t) + rng.normal(0, 1, prompts), 4 + t / 10 + rng.normal(0, 1, prompts)) for t in range(steps)
    ]


def statuses(study):
    return {finding.letter: finding.status for finding in findings(study)}


# -- estimates


def test_a_gold_that_stays_level_is_not_seen_to_fall():
    rng = np.random.default_rng(0)
    found = [looks(lambda _t: 4.0, rng) for _ in range(400)]
    seen = [interval(fall(x)).low > 0 for x in found]
    assert np.mean(seen) <= 0.048  # 2.5 % by the interval, and three standard errors of 400 draws

    def naive(training):
        size = estimates.block(len(training))
        blocks = [np.concatenate([x.gold_N for x in training[k : k + size]]) for k in range(len(training) - size + 1)]
        return stats.ttest_ind(max(blocks, key=np.mean), blocks[-1]).pvalue < 0.05

    assert np.mean([naive(x) for x in found]) > 0.08  # nominal 2.5 %: what choosing costs where it is not paid for


def test_the_fall_of_a_hacked_training_is_measured_without_bias_upwards():
    rng = np.random.default_rng(1)
    found = [fall(looks(lambda t: 5.0 if t < 12 else 3.0, rng)) for _ in range(200)]
    values = np.array([m.value for m in found])
    assert 1.8 < values.mean() <= 2.0 + 3 * values.std() / len(values) ** 0.5
    assert np.mean([interval(m).low > 0 for m in found]) > 0.9
    covered = [interval(m).low <= 2.0 <= interval(m).high for m in found]
    assert np.mean(covered) > 0.92


def test_a_gold_that_rises_to_the_end_has_no_fall():
    rng = np.random.default_rng(2)
    measured = fall(looks(lambda t: 1 + t / 4, rng))
    assert interval(measured).low <= 0 <= interval(measured).high and abs(measured.value) < 0.5


def test_the_rise_is_the_last_block_less_the_first():
    training = looks(lambda _t: 4.0, np.random.default_rng(3))
    first, last = (np.concatenate([x.proxy_N for x in part]) for part in (training[:4], training[-4:]))
    known = stats.ttest_ind(last, first, equal_var=False).confidence_interval(0.95)
    found = interval(rise(training))
    assert found.value == pytest.approx(last.mean() - first.mean())
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_audits_say_nothing(count):
    training = looks(lambda _t: 4.0, np.random.default_rng(4), steps=count)
    assert fall(training) is None and rise(training) is None


def test_a_proxy_without_a_level_has_no_rise():
    training = [x._replace(proxy_N=np.empty(0)) for x in looks(lambda _t: 4.0, np.random.default_rng(5))]
    assert rise(training) is None and fall(training) is not None


def test_over_seeds_it_is_students_interval_and_never_surer_than_the_seeds():
    values = {0: 1.0, 1: 2.0, 2: 4.0}
    known = stats.t.interval(0.95, 2, loc=np.mean(list(values.values())), scale=stats.sem(list(values.values())))
    found = over_seeds({s: Measured(v, 0.01, 100) for s, v in values.items()})
    assert (found.low, found.high) == pytest.approx(known)
    alike = over_seeds({s: Measured(2.0, 0.6, 100) for s in range(3)})
    assert alike.high - alike.value == pytest.approx(stats.t.ppf(0.975, 2) * 0.6 / 3**0.5)
    assert over_seeds({}) is None


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(-5, 5), st.floats(0.01, 3))
def test_differences_swap_to_their_negative(a, a_error, b, b_error):
    one, other = Measured(a, a_error, 20), Measured(b, b_error, 7)
    there, back = difference(one, other), difference(other, one)
    assert there.value == -back.value and there.error == pytest.approx(back.error)
    assert there.freedom * (1 + 1e-9) >= 7 and there.freedom <= 27 * (1 + 1e-9)


# -- the rule


@pytest.mark.parametrize(
    ("low", "high", "above", "not_below"),
    [
        (0.1, 0.3, "reproduced", "reproduced"),
        (-0.1, 0.3, "not reproduced", "reproduced"),
        (-0.1, 2.0, "cannot be shown", "reproduced"),
        (-2.0, -0.1, "not reproduced", "not reproduced"),
        (-2.0, 2.0, "cannot be shown", "cannot be shown"),
    ],
)
def test_a_claim_is_decided_by_its_interval_and_the_least_that_matters(low, high, above, not_below):
    estimate = Estimate((low + high) / 2, low, high)
    assert judged(estimate, "gold") == above
    assert judged(estimate, "gold", above=False) == not_below


def test_one_claim_that_fails_is_enough_and_what_is_missing_comes_before_what_cannot_be_shown():
    assert together(["reproduced", "not run", "not reproduced"]) == "not reproduced"
    assert together(["reproduced", "cannot be shown", "not run"]) == "not run"
    assert together(["reproduced", "cannot be shown"]) == "cannot be shown"


# -- roles


def test_roles_are_told_by_how_a_judge_is_made():
    kinds = ["direct", "rubric", "low", "medium", "high", "distilled-rl", "rl-only"]
    assert [role(PRESET, name) for name in PRESET.judges] == kinds
    assert policy_of(PRESET, "high", "distilled-rl") == "p-practised"  # nothing is trained on `taught`
    assert judge_of(PRESET, "rubric") == "guided"


def test_the_distilled_judge_is_the_one_of_the_highest_effort_that_there_is():
    assert judge_of(PRESET, "distilled") == "taught"
    less = {name: spec for name, spec in PRESET.judges.items() if spec.mode != "high"}
    assert judge_of(msgspec.structs.replace(PRESET, judges=less), "distilled") == "middling"
    smoke = preset.load("smoke")  # reasons at one effort only
    assert judge_of(smoke, "distilled") and judge_of(smoke, "distilled-rl") and policy_of(smoke, "distilled-rl")


def test_rl_from_a_non_reasoning_start_is_no_distillation():
    judges = PRESET.judges | {"grown": JudgeSpec(mode="high", start="one-word", rl=RL)}
    assert role(msgspec.structs.replace(PRESET, judges=judges), "grown") == "rl-only"


def test_the_tiny_study_has_a_judge_for_every_finding():
    tiny = preset.load("tiny")
    found = {role(tiny, name) for name in tiny.judges}
    assert found >= {"direct", "rubric", "low", "medium", "high", "distilled-rl", "rl-only"}
    assert all(policy_of(tiny, kind) for kind in ("direct", "rubric", "low", "distilled-rl", "rl-only"))


# -- studies


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return read_study(PRESET, write_study(tmp_path_factory.mktemp("study")))


def test_a_study_made_as_the_paper_found_reproduces_it(whole):
    found = statuses(whole)
    assert tuple(found) == LETTERS
    assert found == dict.fromkeys(LETTERS, "reproduced")


def test_a_claim_names_its_seeds_and_holds_the_mean(whole):
    claim = findings(whole)[2].claims[0]
    assert claim.words == "gold at the end, p-practised less p-word"
    ends = {s: whole.held["p-practised"][s]["end_gold"] - whole.held["p-word"][s]["end_gold"] for s in (0, 1, 2)}
    assert {s: e.value for s, e in claim.by_seed.items()} == pytest.approx(ends)
    assert claim.estimate.value == pytest.approx(np.mean(list(ends.values())))


def test_a_study_where_it_came_out_otherwise_says_so(tmp_path):
    alphas = ALPHAS | {"taught": (60.0, 66.0), "practised": (50.0, 66.0), "guided": (50.0, 1.0)}
    courses = {"p-word": holding, "p-practised": hacked, "p-brief": holding}
    study = read_study(PRESET, write_study(tmp_path, alphas=alphas, courses=courses))
    found = statuses(study)
    assert {found[letter] for letter in "acdef"} == {"not reproduced"}  # of (d): `self-made` agrees more
    assert found["b"] != "reproduced"


def test_one_seed_has_the_interval_of_its_own_draws(tmp_path):
    study = read_study(PRESET, write_study(tmp_path, seeds=(1,), courses={"p-word": hacked}), (1,))
    found = {finding.letter: finding for finding in findings(study)}
    assert found["a"].status == found["b"].status == "reproduced"
    for claim in found["b"].claims:
        assert claim.by_seed == {1: claim.estimate}


def test_what_is_not_run_is_said_so_with_its_reason(tmp_path):
    study = read_study(PRESET, write_study(tmp_path, alphas={"one-word": (60.0, 1.0)}, courses={}))
    assert set(statuses(study).values()) == {"not run"}
    assert findings(study)[1].claims[0].why == "policy p-word is not trained and audited"
    assert findings(study)[0].claims[0].why == "agreement of taught was not measured"
    assert study.missing["agreement taught"] == (0, 1, 2) and "agreement one-word" not in study.missing


def test_seeds_that_lack_one_side_are_left_out_of_a_claim(tmp_path):
    write_study(tmp_path, seeds=(0, 1), courses={})
    write_study(tmp_path, seeds=(2,), alphas={"one-word": (60.0, 1.0)}, courses={})
    claim = findings(read_study(PRESET, tmp_path))[0].claims[0]
    assert set(claim.by_seed) == {0, 1}


def test_a_judge_without_verdicts_shows_nothing_of_its_policies_either(tmp_path):
    verdicts = {"self-made": 0.1}
    study = read_study(PRESET, write_study(tmp_path, courses=COURSES, seeds=(0,), verdicts=verdicts), (0,))
    found = findings(study)[3]
    assert found.status == "cannot be shown"
    assert {claim.why for claim in found.claims} == {"self-made gave a verdict for 10 % of the items"}


def test_a_policy_that_did_not_learn_to_please_its_judge_shows_nothing_of_gaming(tmp_path):
    study = read_study(PRESET, write_study(tmp_path, courses={"p-word": idle}))
    found = findings(study)[1]
    premise, fell = found.claims
    assert premise.premise and premise.status == "cannot be shown"
    assert fell.status == found.status == "cannot be shown" and fell.estimate is not None


def test_a_preset_without_a_judge_of_a_kind_says_so(tmp_path):
    judges = {"one-word": PRESET.judges["one-word"]}
    made = msgspec.structs.replace(PRESET, judges=judges, policies={"p-word": PRESET.policies["p-word"]})
    write_study(tmp_path, made, alphas={"one-word": (60.0, 1.0)}, courses={"p-word": hacked})
    found = {finding.letter: finding for finding in findings(read_study(made, tmp_path))}
    assert found["f"].claims[0].why == "this preset has no judge that is non-reasoning with a rubric"
    assert found["b"].status == "reproduced" and found["c"].status == "not run"


# -- reading


def test_a_folder_without_a_study_and_one_of_other_settings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds no study of made with seed 0, 1, 2"):
        read_study(PRESET, tmp_path)
    write_study(tmp_path, seeds=(0,), courses={})
    changed = PRESET.judges | {"one-word": JudgeSpec(mode="direct", sft=msgspec.structs.replace(SFT, rate=0.5))}
    with pytest.raises(ConfigError, match="one-word was made with other settings"):
        read_study(msgspec.structs.replace(PRESET, judges=changed), tmp_path)


def test_a_torn_end_of_a_stage_is_named(tmp_path):
    write_study(tmp_path, seeds=(0,), courses={})
    (tmp_path / "seed-0/agreement/taught/done.json").write_text('{"key": 3')
    with pytest.raises(DataError, match=r"taught/done\.json: is no end of a stage"):
        read_study(PRESET, tmp_path)


def test_audits_of_a_training_that_was_made_anew_are_refused(tmp_path):
    write_study(tmp_path / "old", seeds=(0,), courses={"p-word": hacked})
    write_study(tmp_path / "new", seeds=(0,), courses={"p-word": holding})
    (tmp_path / "old/seed-0/policies").rename(tmp_path / "gone")
    (tmp_path / "new/seed-0/policies").rename(tmp_path / "old/seed-0/policies")
    with pytest.raises(ConfigError, match="audits another training"):
        read_study(PRESET, tmp_path / "old")
