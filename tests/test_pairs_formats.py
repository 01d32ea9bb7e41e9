import random
from pathlib import Path

import pytest

from adjudge.errors import ConfigError, DataError
from adjudge.pairs import benchmarks, own
from adjudge.pairs.domains import topic
from adjudge.pairs.formats import FORMATS
from adjudge.pairs.read import REPEATED, check, read
from adjudge.types import Pair, drawn_side
from tests import pairs_samples as samples
from tests.pairs_samples import SAMPLES, jsonl


def pairs_of(tmp_path, rows, **options) -> list[Pair]:
    return list(read(jsonl(tmp_path / "x.jsonl", rows), **options))


def right_of(pair: Pair) -> str | None:
    return pair.response_a if pair.gold == "A" else pair.response_b


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_recognised_by_its_first_row(tmp_path, name):
    rows, count = SAMPLES[name]
    read_ = read(jsonl(tmp_path / "x.jsonl", rows))
    assert read_.format == name
    pairs = list(read_)
    assert len(pairs) == count
    assert len({p.id for p in pairs}) == count


@pytest.mark.parametrize("name", SAMPLES)
def test_shuffling_a_file_changes_no_pair(tmp_path, name):
    rows, _ = SAMPLES[name]
    shuffled = rows[:]
    random.Random(5).shuffle(shuffled)
    if name == "own":  # the first row says what the file is, and all of these do
        shuffled.sort(key=lambda row: row["id"], reverse=True)
    by_id = {p.id: p for p in pairs_of(tmp_path, rows)}
    assert {p.id: p for p in pairs_of(tmp_path, shuffled)} == by_id


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in ("own", "records", "judgebench", "llmbar")])
def test_the_side_of_the_right_response_is_the_seeded_draw_of_the_id(tmp_path, name):
    for seed in (0, 1):
        for pair in pairs_of(tmp_path, SAMPLES[name][0], seed=seed):
            assert pair.gold == drawn_side(pair.id, seed)


def test_the_draw_uses_both_sides_and_the_seed(tmp_path):
    first, second = (pairs_of(tmp_path, samples.PREFERENCE_TEXT, seed=s) for s in (0, 1))
    assert {p.gold for p in first} == {"A", "B"}
    assert [p.gold for p in first] != [p.gold for p in second]
    assert [right_of(p) for p in first] == [right_of(p) for p in second] == [f"good {i}" for i in range(40)]


def test_formats_that_carry_a_and_b_keep_them(tmp_path):
    for pair in pairs_of(tmp_path, samples.JUDGEBENCH):
        assert (pair.response_a, pair.response_b) == ("first", "second")
    assert [p.gold for p in pairs_of(tmp_path, samples.JUDGEBENCH)] == ["A", "B", "B", "A", "A"]
    assert [(p.response_a, p.gold) for p in pairs_of(tmp_path, samples.LLMBAR)] == [("yes", "A"), ("yes", "B")]


def test_our_own_rows_keep_every_column(tmp_path):
    q1, q2, q3, q4 = pairs_of(tmp_path, samples.OWN)
    assert q1 == Pair(id="q1", prompt="2+2?", response_a="4", response_b="5", gold="A", domain="math", meta={"seen": 3})
    assert (q2.gold, q2.rubric) == ("B", "exact")
    assert (q3.gold, q3.response_b) == (None, "")
    assert (q4.responses, q4.gold_index, q4.gold) == (("u", "v", "w"), 2, drawn_side("q4"))
    assert (q4.response_a, q4.response_b) == (None, None)


def test_our_own_best_of_n_rows_as_pairs_set_the_right_response_against_each_other_one(tmp_path):
    unknown = {**samples.OWN[3], "id": "q5", "gold_index": None}
    read_ = read(jsonl(tmp_path / "x.jsonl", [*samples.OWN, unknown]), as_pairs=True)
    pairs = {p.id: p for p in read_}
    assert sorted(pairs) == ["q1", "q2", "q3", "q4/2-0", "q4/2-1"]
    assert [right_of(pairs[key]) for key in ("q4/2-0", "q4/2-1")] == ["w", "w"]
    assert read_.left_out == {own.NO_RIGHT_ONE: 1}


def test_the_documentation_names_every_format():
    text = (Path(__file__).parents[1] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


def test_pairs_are_taken_out_of_records_once_though_judged_twice(tmp_path):
    assert pairs_of(tmp_path, samples.RECORDS) == pairs_of(tmp_path, samples.OWN[:2])


def test_judgebench_domains_are_its_four(tmp_path):
    pairs = pairs_of(tmp_path, samples.JUDGEBENCH)
    parts = ["knowledge", "reasoning", "math", "coding", "knowledge"]
    assert [p.domain for p in pairs] == [f"JudgeBench/{part}" for part in parts]
    assert pairs[0].id == "judgebench/m-1/p0"
    assert pairs[0].meta == {"subset": "mmlu-pro-law", "original_id": "0", "response_model": "m-1"}


def test_llmbar_takes_its_domain_from_the_folders_below_dataset(tmp_path):
    folder = tmp_path / "LLMBar-main" / "Dataset" / "LLMBar" / "Adversarial" / "Manual"
    folder.mkdir(parents=True)
    assert {p.domain for p in read(jsonl(folder / "dataset.jsonl", samples.LLMBAR))} == {"LLMBar/Adversarial/Manual"}
    assert {p.domain for p in pairs_of(tmp_path, samples.LLMBAR)} == {"LLMBar"}


def test_rewardbench_subsets_stand_in_their_sections_with_math_and_code_apart(tmp_path):
    domains = [p.domain.removeprefix("RewardBench/") for p in pairs_of(tmp_path, samples.REWARDBENCH)]
    assert domains == ["Chat", "Chat Hard", "Safety", "Reasoning/math", "Reasoning/code", "new-subset"]
    assert len(benchmarks.REWARDBENCH_SECTION) == 24  # the 23 subsets and one under both of its names


def test_rewardbench2_is_best_of_four_in_a_drawn_order(tmp_path):
    read_ = read(jsonl(tmp_path / "x.jsonl", samples.REWARDBENCH2))
    pairs = list(read_)
    assert read_.left_out == {benchmarks.SEVERAL_RIGHT: 1}
    assert all(p.responses[p.gold_index] in ("right", "good") and len(p.responses) == 4 for p in pairs)
    assert len({p.gold_index for p in pairs}) > 1
    assert pairs[0].id == "rewardbench2/Math/0"
    assert pairs[-1].id == "rewardbench2/Focus/0"
    assert {p.domain for p in pairs} == {"RewardBench2/Math", "RewardBench2/Focus"}


def test_rewardbench2_as_pairs_sets_each_right_response_against_each_wrong_one(tmp_path):
    pairs = pairs_of(tmp_path, samples.REWARDBENCH2, as_pairs=True)
    assert len(pairs) == 9 * 3 + 2 * 3
    ties = [p for p in pairs if p.domain == "RewardBench2/Ties"]
    assert {(right_of(p), p.response_b if p.gold == "A" else p.response_a) for p in ties} == {
        (right, wrong) for right in ("red", "blue") for wrong in ("up", "down", "left")
    }


def test_rm_bench_gives_nine_pairs_with_styles_and_difficulty(tmp_path):
    pairs = {p.id: p for p in pairs_of(tmp_path, samples.RM_BENCH)}
    hard = pairs["rmbench/code/7/02"]
    assert (right_of(hard), hard.meta["difficulty"], hard.domain) == ("c0", "hard", "RM-Bench/code")
    styles = (hard.meta["style_a"], hard.meta["style_b"])
    assert styles == (("concise", "detailed_markdown") if hard.gold == "A" else ("detailed_markdown", "concise"))
    assert [sum(p.meta["difficulty"] == d for p in pairs.values()) for d in ("easy", "normal", "hard")] == [3, 3, 3]


@pytest.mark.parametrize("rows", [samples.PREFERENCE_TALK, samples.PREFERENCE_IMPLICIT])
def test_a_conversation_gives_prompt_and_responses_as_plain_text(tmp_path, rows):
    (pair,) = pairs_of(tmp_path, rows)
    assert (pair.prompt, right_of(pair)) == ("sky?", "blue")


def test_what_several_turns_share_is_the_prompt_with_its_speakers(tmp_path):
    _, pair = pairs_of(tmp_path, samples.SKYWORK)
    assert pair.prompt == "User: one\n\nAssistant: 1\n\nUser: two"
    assert {pair.response_a, pair.response_b} == {"2", "3"}
    assert pair.domain == "Skywork/magpie_pro"


def test_a_prompt_that_the_conversations_repeat_is_not_doubled(tmp_path):
    row = {"prompt": "sky?", **samples.PREFERENCE_IMPLICIT[0]}
    assert [p.prompt for p in pairs_of(tmp_path, [row])] == ["sky?"]
    system = [{"role": "system", "content": "be brief"}]
    row = {"prompt": "sky?", **{k: system + samples.PREFERENCE_IMPLICIT[0][k] for k in ("chosen", "rejected")}}
    assert [p.prompt for p in pairs_of(tmp_path, [row])] == ["System: be brief\n\nUser: sky?"]


def test_messages_made_of_text_parts_are_read(tmp_path):
    parts = [{"type": "text", "text": "bl"}, {"type": "text", "text": "ue"}]
    row = {**samples.PREFERENCE_TALK[0], "chosen": [{"role": "assistant", "content": parts}]}
    assert right_of(pairs_of(tmp_path, [row])[0]) == "blue"


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt", "right"),
    [
        ("\n\nHuman: hi\n\nAssistant: hello", "\n\nHuman: hi\n\nAssistant: hell", "Human: hi", "hello"),
        ("The sky is blue.", "The sky is green.", "The sky is", "blue."),
    ],
)
def test_a_prompt_inside_two_strings_ends_at_a_turn_or_a_word(tmp_path, chosen, rejected, prompt, right):
    (pair,) = pairs_of(tmp_path, [{"chosen": chosen, "rejected": rejected}])
    assert (pair.prompt, right_of(pair)) == (prompt, right)


def test_math_step_dpo_is_read_by_step_or_by_solution(tmp_path):
    (step,) = pairs_of(tmp_path, samples.MATH_STEP_DPO)
    assert right_of(step) == "Step 1: 3 x 4 = 12.\nStep 2: 12 + 1 = 13."
    (full,) = pairs_of(tmp_path, samples.MATH_STEP_DPO, format="math-step-dpo-full")
    assert right_of(full) == "Step 1: 3 x 4 = 12.\nStep 2: 12 + 1 = 13.\nThe answer is 13."
    assert (full.meta["answer"], topic(full.domain), step.id != full.id) == ("13", "math", True)


def test_code_preference_pairs_are_code(tmp_path):
    (pair,) = pairs_of(tmp_path, samples.CODE_PREFERENCE)
    assert (pair.prompt, right_of(pair), topic(pair.domain)) == ("add a and b", "a + b", "code")
    assert pair.meta == {"instruction": "Write code.", "ID": "k1"}


def test_rows_that_make_no_pair_are_left_out_and_counted(tmp_path):
    rows = [
        samples.PREFERENCE_TEXT[0],
        samples.PREFERENCE_TEXT[0],
        {"prompt": "p", "chosen": "same", "rejected": "same"},
        {"chosen": samples.said("one", "x"), "rejected": samples.said("two", "y")},
    ]
    checked = check(jsonl(tmp_path / "x.jsonl", rows))
    assert checked.count == 1
    assert checked.left_out == {
        "chosen and rejected are the same": 1,
        "chosen and rejected share no prompt": 1,
        REPEATED: 1,
    }


def test_a_file_of_which_nothing_is_left_is_refused(tmp_path):
    with pytest.raises(DataError, match="gives no pair; rows left out: 1 x several right"):
        pairs_of(tmp_path, samples.REWARDBENCH2[-1:])


def test_a_foreign_column_never_passes_for_one_of_ours(tmp_path):
    row = {**samples.PREFERENCE_TEXT[0], "gold": "B", "response_a": "zzz", "domain": 3}
    (pair,) = pairs_of(tmp_path, [row], format="preference")
    assert pair.meta == {"raw_gold": "B", "raw_response_a": "zzz", "raw_domain": 3}
    assert right_of(pair) == "good 0"


def test_an_unknown_format_name_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'rewardbench'"):
        pairs_of(tmp_path, samples.OWN, format="rewardbensh")


@pytest.mark.parametrize("rows", [samples.ALPACA_ONE, samples.arena("m"), samples.ARENA_QUESTIONS])
def test_files_that_hold_no_pairs_by_themselves_say_what_else_to_name(tmp_path, rows):
    with pytest.raises(DataError, match="--against"):
        pairs_of(tmp_path, rows)


@pytest.mark.parametrize("name", FORMATS)
def test_a_named_format_refuses_a_row_of_nothing_and_names_what_it_lacks(tmp_path, name):
    with pytest.raises(DataError, match=r"x\.jsonl:1: "):
        pairs_of(tmp_path, [{"nothing": 1}], format=name)
