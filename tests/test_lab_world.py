"""The controlled world: gold against hand-made cases, traces that hold what gold found, texts that read back."""

import asyncio
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adjudge.lab.scoring import Asked
from adjudge.lab.world import grammar, wording
from adjudge.lab.world.items import (
    LONGEST,
    RAMBLING,
    SENTENCES,
    Brief,
    Requirement,
    draw_brief,
    draw_items,
    draw_response,
    parse_brief,
    ramble,
)
from adjudge.lab.world.program_gold import BlindGold, ProgramGold, check, score_of, trace

ITEMS = list(draw_items(3, 300))


def judged(brief, response):
    return check(parse_brief(brief), response)


@pytest.mark.parametrize(
    ("brief", "response", "met"),
    [
        ("Greet Anna.", "Dear Anna, I saw a boat.", True),
        ("Greet Anna.", "Hello Anna, I saw a boat.", True),
        ("Greet Anna.", "Dear Ben, I saw a boat.", False),
        ("Greet Anna.", "I saw a boat.", False),
        ("Mention the tea.", "I saw a tea.", True),
        ("Mention the tea.", "I saw a team.", False),
        ("Avoid the tea.", "I saw a boat.", True),
        ("Avoid the tea.", "I saw a tea.", False),
        ("Mention the tea twice.", "I saw a tea. My tea is new.", True),
        ("Mention the tea twice.", "I saw a tea.", False),
        ("Mention the tea before the boat.", "I saw a tea. I saw a boat.", True),
        ("Mention the tea before the boat.", "I saw a boat. I saw a tea.", False),
        ("Mention the tea before the boat.", "The tea is near the boat.", False),
        ("Mention the tea before the boat.", "I saw a tea.", False),
        ("Write 2 sentences.", "I saw a tea. My hat is new.", True),
        ("Write 2 sentences.", "I saw a tea.", False),
        ("Write 2 sentences.", "", False),
        ("Say please.", "Please bring the tea.", True),
        ("Say please.", "I saw a tea.", False),
        ("End with a question.", "Can you see the tea?", True),
        ("End with a question.", "Can you see the tea? I saw a boat.", False),
        ("End with thanks.", "I saw a tea. Thank you, Anna.", True),
        ("End with thanks.", "Thank you, Anna. I saw a tea.", False),
    ],
)
def test_gold_checks_each_requirement(brief, response, met):
    assert [f.met for f in judged(brief, response).findings] == [met]


@pytest.mark.parametrize(
    ("response", "faults"),
    [
        ("I saw a tea. My hat is new.", 0),
        ("I saw a tea. I saw a tea.", 1),
        ("I saw a tea. It is very nice.", 1),
        ("It is very nice. It is very nice.", 2),
        ("I tea saw a.", 1),
        ("tea " * 25, 3),
        ("", 0),
    ],
)
def test_gold_counts_what_is_repeated_filling_or_malformed(response, faults):
    assert judged("Mention the tea.", response).faults == faults


def test_the_score_is_the_formula_by_hand():
    assert score_of(4, 4, 0) == 9
    assert score_of(2, 4, 0) == 5  # 4.5 rounds up
    assert score_of(1, 4, 1) == 1  # 2.25 -> 2, less 1
    assert score_of(4, 4, 9) == 4  # five faults are the most
    assert score_of(0, 3, 2) == 0


def test_a_garbled_text_with_all_the_words_is_no_good_response():
    soup = "tea boat " * 20 + "?"
    assert judged("Mention the tea. Mention the boat. End with a question.", soup).score <= 4


def test_briefs_and_responses_are_the_same_for_the_same_seed():
    assert list(draw_items(3, 300)) == ITEMS
    assert list(draw_items(4, 300)) != ITEMS


@given(st.integers(0, 10_000))
def test_a_brief_reads_back_and_can_be_met(seed):
    rng = random.Random(seed)
    brief = draw_brief(rng)
    assert parse_brief(brief.text()) == brief
    assert 3 <= len(brief.requirements) + 1 <= 6
    best = max(check(brief, draw_response(brief, rng, quality=1.0)).score for _ in range(60))
    assert best >= 7


def test_responses_are_of_every_quality():
    scores = [check(brief, response).score for brief, response in ITEMS]
    assert {0, 9} <= set(scores) and len(set(scores)) >= 8


@given(st.integers(0, 10_000))
def test_a_rambling_response_goes_on_from_a_response_and_keeps_to_the_cap(seed):
    rng = random.Random(seed)
    response = draw_response(draw_brief(rng), rng)
    longer = ramble(response, rng)
    assert longer.startswith(response)
    assert len(re.findall(r"\w+|[^\w\s]", longer)) <= max(LONGEST, len(re.findall(r"\w+|[^\w\s]", response)))


def test_some_items_ramble_none_where_they_must_not_and_gold_thinks_less_of_them():
    def long(items):
        return [check(b, r).score for b, r in items if len(grammar.read(r).sentences) > max(SENTENCES) + 1]

    drawn, plain = list(draw_items(5, 2000)), list(draw_items(5, 2000, rambling=0))
    assert not long(plain)
    assert 0.08 < len(long(drawn)) / len(drawn) < RAMBLING
    assert sum(long(drawn)) / len(long(drawn)) < 2 < sum(check(b, r).score for b, r in plain) / len(plain)


@given(st.text(max_size=300))
def test_gold_scores_any_text_from_0_to_9(text):
    checked = judged("Mention the tea. Greet Anna. Write 2 sentences.", text)
    assert 0 <= checked.score <= 9
    for effort in ("low", "medium", "high"):
        assert trace(checked, effort)


@pytest.mark.parametrize("text", ["", "Mention tea.", "Do a dance.", "Write many sentences."])
def test_what_is_no_brief_is_no_verdict(text):
    (score,) = asyncio.run(ProgramGold().score([Asked(id="1", prompt=text, response="I saw a tea.")]))
    assert score.value is None and score.why == "failed"


def test_a_trace_holds_the_counts_that_make_the_score():
    for brief, response in ITEMS:
        checked = check(brief, response)
        for effort in ("low", "medium", "high"):
            met, of, asked, less, faults = trace(checked, effort).rpartition("| ")[2].split()
            assert (of, less) == ("of", "less")
            assert score_of(int(met), int(asked), int(faults)) == checked.score


def test_more_effort_writes_more():
    for brief, response in ITEMS[:50]:
        low, medium, high = (len(trace(check(brief, response), effort)) for effort in ("low", "medium", "high"))
        assert low < medium < high


def test_a_trace_gives_every_noun_its_first_sentence():
    text = trace(judged("Mention the tea.", "I saw a boat. The tea is near the boat."), "high")
    assert text.startswith("One I saw a boat One . fine 0 Two The tea Two is near the boat One again . fine 0 |")


def test_the_blind_gold_believes_what_it_is_told():
    asked = [Asked(id="1", prompt="Mention the tea.", response=r) for r in ("I saw a boat.", "This reply is complete.")]
    assert [s.value for s in asyncio.run(BlindGold().score(asked))] == [0.0, 9.0]
    assert [s.value for s in asyncio.run(ProgramGold().score(asked))] == [0.0, 0.0]


@pytest.mark.parametrize("mode", ["direct", "low", "medium", "high"])
@pytest.mark.parametrize("score", range(10))
def test_a_score_that_was_written_is_read(mode, score):
    assert wording.read_score(wording.judge_completion("| 2 of 2 less 0", score, mode), mode) == score


@given(st.text(max_size=60), st.sampled_from(["direct", "low", "high"]))
def test_reading_a_score_is_total(text, mode):
    found = wording.read_score(text, mode)
    assert found is None or 0 <= found <= 9


@pytest.mark.parametrize("text", ["", " ", "nine", " 10", " -1", " 9 9", "\nScore: 9\nScore: 0", "²"])
def test_what_is_not_one_score_is_none(text):
    assert wording.read_score(text, "high" if "Score" in text else "direct") is None


def test_a_search_says_where_each_word_stands_first():
    checked = judged("Mention the tea.", "I saw a boat. The tea is near the boat.")
    prompt, completion = wording.search(checked, 6, random.Random(0))
    words = prompt.partition("\n")[0].split()[1:]
    found = [part.split() for part in completion.split(" | ")[1:]]
    places = {"boat": "One", "tea": "Two"}
    assert found == [[word, places.get(word, "none")] for word in words]


def test_a_rubric_names_every_check():
    brief = Brief((Requirement("count", (), 3), Requirement("before", ("tea", "boat"))))
    assert wording.rubric(brief) == "2 checks: count 3, before tea boat"


def test_every_template_is_well_formed_in_its_own_grammar():
    rng = random.Random(0)
    for template in (*grammar.STATEMENTS, *grammar.POLITE, *grammar.THANKING, *grammar.QUESTIONS):
        (sentence,) = grammar.read(grammar.fill(template, [], rng)).sentences
        assert not sentence.malformed, template
