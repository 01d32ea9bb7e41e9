import random

import pytest

from adjudge.errors import DataError
from adjudge.pairs.outputs import read_outputs
from adjudge.pairs.read import tally
from tests.pairs_samples import (
    ALPACA_ONE,
    ALPACA_TWO,
    ARENA_QUESTIONS,
    ARENA_V01_QUESTIONS,
    OWN,
    arena,
    arena_v01,
    jsonl,
)


@pytest.fixture
def alpaca(tmp_path):
    return jsonl(tmp_path / "one.json", ALPACA_ONE), jsonl(tmp_path / "two.json", ALPACA_TWO)


def by_id(pairs):
    return {pair.id: pair for pair in pairs}


def test_two_files_of_outputs_make_a_pair_per_instruction(alpaca):
    pairs = list(read_outputs(*alpaca))
    assert len(pairs) == len({p.id for p in pairs}) == 30
    for i, pair in enumerate(pairs):
        texts = {pair.meta["model_a"]: pair.response_a, pair.meta["model_b"]: pair.response_b}
        assert texts == {"m-one": f"one {i}", "m-two": f"two {i}"}
        assert (pair.prompt, pair.domain, pair.gold) == (f"do {i}", "AlpacaEval/koala", None)
    assert {p.meta["model_a"] for p in pairs} == {"m-one", "m-two"}


def test_neither_the_order_of_the_files_nor_of_their_rows_matters(alpaca, tmp_path):
    want = by_id(read_outputs(*alpaca))
    shuffled = ALPACA_TWO[:]
    random.Random(3).shuffle(shuffled)
    other = jsonl(tmp_path / "shuffled.json", shuffled)
    assert by_id(read_outputs(alpaca[1], alpaca[0])) == want
    assert by_id(read_outputs(alpaca[0], other)) == want


def test_questions_that_one_file_lacks_are_left_out_and_counted(alpaca, tmp_path):
    short = jsonl(tmp_path / "short.json", ALPACA_TWO[5:])
    checked = tally(read_outputs(alpaca[0], short))
    assert checked.count == 25
    assert checked.left_out == {f"not answered in {short}": 5}
    assert tally(read_outputs(short, alpaca[0])).left_out == {f"not answered in {short}": 5}


def test_an_instruction_that_stands_twice_is_two_questions(tmp_path):
    one, two = (jsonl(tmp_path / name, rows[:2] + rows[:1]) for name, rows in (("a", ALPACA_ONE), ("b", ALPACA_TWO)))
    assert len(by_id(read_outputs(one, two))) == 3


def test_arena_hard_answers_take_prompt_and_category_from_the_questions(tmp_path):
    one, two = (jsonl(tmp_path / f"{m}.jsonl", arena(m)) for m in ("m1", "m2"))
    asked = jsonl(tmp_path / "question.jsonl", ARENA_QUESTIONS)
    first, second = read_outputs(one, two, questions=asked)
    assert (first.prompt, first.domain) == ("write a loop", "ArenaHard/hard_prompt/coding")
    assert second.domain == "ArenaHard/creative_writing"
    assert {first.response_a, first.response_b} == {"m1 answers u1", "m2 answers u1"}
    bare, _ = read_outputs(one, two)
    assert (bare.prompt, bare.domain) == ("write a loop", "ArenaHard")


def test_arena_hard_v01_answers_are_joined_to_the_turns_of_their_questions(tmp_path):
    one, two = (jsonl(tmp_path / f"{m}.jsonl", arena_v01(m)) for m in ("m1", "m2"))
    asked = jsonl(tmp_path / "question.jsonl", ARENA_V01_QUESTIONS)
    pairs = read_outputs(one, two, questions=asked)
    first, second = pairs
    assert pairs.format == "arena-hard-v0.1"
    assert (first.id, first.prompt, first.domain) == ("arena-hard/q1/m1~m2", "write a loop", "ArenaHard")
    assert {first.response_a, first.response_b} == {"m1 answers q1.0", "m2 answers q1.0"}
    assert first.meta["cluster"] == "Loops"
    assert (second.prompt, second.domain) == ("User: write a song\n\nUser: now shorter", "ArenaHard/writing")
    texts = {second.meta["model_a"]: second.response_a, second.meta["model_b"]: second.response_b}
    assert texts["m1"] == "Assistant: m1 answers 2.0\n\nAssistant: m1 answers 2.1"


def test_arena_hard_v01_answers_without_their_questions_are_no_pairs(tmp_path):
    one, two = (jsonl(tmp_path / f"{m}.jsonl", arena_v01(m)) for m in ("m1", "m2"))
    asked = jsonl(tmp_path / "question.jsonl", ARENA_V01_QUESTIONS)
    short = {**arena_v01("m1")[1], "choices": [{"turns": ["only one"]}]}
    for answers, questions, says in [
        (one, None, "m1.jsonl:1: the row has no question; name the file of questions: --questions FILE"),
        (one, one, "m1.jsonl:1: holds 'arena-hard-v0.1', not questions"),
        (one, jsonl(tmp_path / "few.jsonl", ARENA_V01_QUESTIONS[:1]), "m1.jsonl:2: answers '2', which is no question"),
        (jsonl(tmp_path / "short.jsonl", [short]), asked, "short.jsonl:1: question '2' has 2 turns, and the answer 1"),
        (jsonl(tmp_path / "none.jsonl", [{**short, "choices": []}]), asked, "none.jsonl:1: 'choices' must be a list"),
    ]:
        with pytest.raises(DataError, match=says):
            list(read_outputs(answers, two, questions=questions))


def test_files_that_do_not_belong_together_are_refused(alpaca, tmp_path):
    answers = jsonl(tmp_path / "m1.jsonl", arena("m1"))
    asked = jsonl(tmp_path / "question.jsonl", ARENA_QUESTIONS[:1])
    others = jsonl(tmp_path / "others.json", [{**row, "instruction": "x"} for row in ALPACA_TWO[:1]])
    for one, two, more, says in [
        (alpaca[0], answers, None, "is of format 'arena-hard'"),
        (alpaca[0], others, None, "answers no question that"),
        (alpaca[0], jsonl(tmp_path / "own.jsonl", OWN), None, "holds 'own', not answers of one model"),
        (answers, answers, asked, "m1.jsonl:2: answers 'u2', which is no question of"),
        (answers, answers, jsonl(tmp_path / "twice.jsonl", ARENA_QUESTIONS * 2), "twice.jsonl:3: the question 'u1'"),
        (jsonl(tmp_path / "bad.json", [{**ALPACA_ONE[0], "output": 1}]), alpaca[1], None, "bad.json:1: 'output' must"),
    ]:
        with pytest.raises(DataError, match=says):
            list(read_outputs(one, two, questions=more))
