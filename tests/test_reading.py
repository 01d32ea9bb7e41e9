"""Reading replies: total, and exact on what it should read. Forgeries are in test_forgeries.py."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjudge.judging.fencing import MARK, defused
from adjudge.judging.reading import (
    VERDICTS,
    VerdictProtocol,
    read_need,
    read_rubric,
    read_score,
    read_verdict,
    split_reasoning,
)
from adjudge.types import Outcome, Reply, TokenChance
from tests.recorded import DATA
from tests.replies import CODE, FAILED, REFUSED, TEXTS, TIE, TRUNCATED, UNREAD, A, B, rows, verdict

# -- what is read


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("[[A]]", A),
        ("[[B]]", B),
        ("[[C]]", TIE),
        ("  [[ a ]]\n", A),
        ("**[[B]]**", B),
        ("A", A),
        ("B.", B),
        ("**C**", TIE),
        ("Both work, A is clearer.\n\nFinal verdict: [[A]]", A),
        ("[[B]]\n\nBecause A is wrong.", B),
        ("[[A]] at first sight, and still [[A]].", A),
        ("At first [[A]].\nBut on reflection:\n[[B]]\n\n", B),
        ("I choose among [[A]], [[B]] and [[C]].\nVerdict: [[C]]", TIE),
        ("It is [[B]].\nNot [[A]] but [[B]]", UNREAD),
        ("[[A]]\n[[B]]\nHard to say.", UNREAD),
        ("[[D]]", UNREAD),
        ("[[A>B]]", UNREAD),
        ("[[7]]", UNREAD),
        ("a", UNREAD),
        ("Answer: A", UNREAD),
        ("Response A is better.", UNREAD),
        ("A is better", UNREAD),
        ("[ [A] ]", UNREAD),
        ("[A]", UNREAD),
        ("[[A", UNREAD),
        ("[[A 7f3ac1]]", UNREAD),
        ("[[\nA\n]]", UNREAD),
        ("", UNREAD),
        (" \n\t", UNREAD),
        ("**", UNREAD),
        ("I'm sorry, but I can't help with judging this.", REFUSED),
        ("I\u2019m sorry, I cannot compare these responses.", REFUSED),
        ("I cannot assist with that request.", REFUSED),
        ("As an AI language model, I am unable to do so.", REFUSED),
        ("I'm sorry, but I can't like either of them. [[C]]", TIE),
        ("Sorry for the wait: A is better.", UNREAD),
        ("I cannot decide which is better.", UNREAD),
    ],
)
def test_a_pairwise_verdict_is_read_by_its_mark_and_never_guessed(text: str, outcome: Outcome) -> None:
    assert verdict(text) is outcome


@pytest.mark.parametrize(
    ("text", "outcome", "p_a"),
    [
        ("[[A>>B]]", A, 1.0),
        ("My final verdict: [[A>B]]", A, 0.75),
        ("[[A=B]]", TIE, 0.5),
        ("[[B>A]]", B, 0.25),
        ("[[ B >> A ]]", B, 0.0),
        ("[[A<<B]]", B, 0.0),
        ("[[B=A]]", TIE, 0.5),
        ("A>>B", A, 1.0),
        ("[[A>>B]] and so [[A>B]]", UNREAD, None),
        ("[[A>>A]]", UNREAD, None),
        ("[[A>>A]] or rather\n[[A>>B]]", A, 1.0),
        ("[[A>>B]] or rather\n[[A>>A]]", UNREAD, None),
        ("A", UNREAD, None),
        ("[[A]]", UNREAD, None),
    ],
)
def test_a_five_step_verdict_gives_its_sign_and_its_share(text: str, outcome: Outcome, p_a: float | None) -> None:
    found = read_verdict(Reply(text=text), protocol="pairwise5")
    assert (found.outcome, found.p_a) == (outcome, p_a)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[7]]", 7),
        ("Good.\n**[[0]]**", 0),
        ("7", 7),
        ("9.", 9),
        ("[[3]] no, better:\n[[4]]", 4),
        ("[[10]]", None),
        ("[[-1]]", None),
        ("[[7.5]]", None),
        ("7/10", None),
        ("Rating: 7", None),
        ("[[A]]", None),
        ("[[7]] and then [[8]]", None),
        ("[[7]] then\n[[11]]", None),
    ],
)
def test_a_rating_is_a_whole_number_on_the_scale(text: str, value: int | None) -> None:
    found = read_score(Reply(text=text), scale=(0, 9))
    assert (found.outcome, found.value) == ((UNREAD, None) if value is None else (None, value))


def test_ten_is_read_on_a_scale_that_has_it() -> None:
    assert read_score(Reply(text="[[10]]"), scale=(1, 10)).value == 10
    assert read_score(Reply(text="10"), scale=(1, 10), mode="instruct").value == 10


@pytest.mark.parametrize(
    ("text", "value"),
    [("[[yes]]", 1), ("[[No]]", 0), ("yes", 1), ("**No**", 0), ("Hm.\n[[yes]]", 1), ("Yes, I do", None)],
)
def test_the_need_to_reason_is_read_from_its_mark(text: str, value: int | None) -> None:
    found = read_need(Reply(text=text))
    assert (found.outcome, found.value) == ((UNREAD, None) if value is None else (None, value))


# -- what is no verdict


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(text="[[A]]", error="connection cut"), FAILED),
        (Reply(text="[[A]]", refusal="I will not judge this."), REFUSED),
        (Reply(text="[[A]]", finish_reason="content_filter"), REFUSED),
        (Reply(text="", finish_reason="length"), TRUNCATED),
        (Reply(text="", reasoning="B is worse: [[A]]", finish_reason="length"), TRUNCATED),
        (Reply(text="", reasoning="B is worse: [[A]]", finish_reason="stop"), UNREAD),
        (Reply(text="So it is [[A]]", finish_reason="length"), TRUNCATED),
        (Reply(text="So it is [[A]]", finish_reason="max_tokens"), TRUNCATED),
        (Reply(text="[[A]]", finish_reason="length"), A),
        (Reply(text=" [[A]]\n", finish_reason="length"), A),
        (Reply(text="A", finish_reason="length"), TRUNCATED),
        (Reply(text="[[A]] or", finish_reason="length"), TRUNCATED),
        (Reply(text="[[B]]", recorded=A), A),
        (Reply(text="[[B]]", recorded=FAILED, error="failed when it was recorded"), FAILED),
    ],
)
def test_failed_refused_and_cut_off_replies_are_no_verdicts(reply: Reply, outcome: Outcome) -> None:
    assert read_verdict(reply).outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("<think>It looks like [[A]].</think>[[B]]", B),
        ("<think>It looks like [[A]].</think>\n", UNREAD),
        ("<think>It looks like [[A]].", TRUNCATED),
        ("It looks like [[A]].</think>\n\n[[B]]", B),
        ("It looks like [[A]].</think>", UNREAD),
        ("<THINKING>[[A]]</THINKING> [[B]]", B),
        ("[THINK][[A]][/THINK][[B]]", B),
        ("<think>[[A]]</think>[[B]]<think>no: [[A]]", TRUNCATED),
        ("<think>one</think>[[A]]<think>two</think>[[B]]", B),
        ("First [[A]].<think>hm</think>", UNREAD),
        ("<think>[[A]]</think>B", B),
    ],
)
def test_no_verdict_is_read_from_reasoning(text: str, outcome: Outcome) -> None:
    assert verdict(text) is outcome


HARMONY = (
    "<|channel|>analysis<|message|>A says [[A]]. But B: [[B]]?<|end|><|start|>assistant<|channel|>final<|message|>"
)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (HARMONY + "[[B]]", B),
        (HARMONY + "B is right.\n\n[[B]]<|return|>", B),
        (f"\n<|start|>assistant{HARMONY}A<|end|>\n", A),
        ("<|channel|>final <|constrain|>text<|message|>C<|return|>", TIE),
        (
            HARMONY.replace("<|end|>", "<|end|><|start|>assistant<|channel|>commentary<|message|>[[C]]<|end|>")
            + "[[A]]",
            A,
        ),
        (HARMONY + "[[A]]<|end|><|start|>assistant<|channel|>final<|message|>[[B]]<|return|>", B),
        (HARMONY, UNREAD),
        (HARMONY.partition("<|start|>")[0], UNREAD),
        (HARMONY.partition("<|end|>")[0], TRUNCATED),
        (HARMONY.partition("final")[0], TRUNCATED),
        ("<|channel|>analysis<|message|>[[A]]", TRUNCATED),
        ("It says <|channel|>analysis<|message|>and then\n[[B]]", B),
    ],
)
def test_of_the_channels_of_gpt_oss_only_the_final_one_is_content(text: str, outcome: Outcome) -> None:
    assert verdict(text) is outcome


def test_a_verdict_on_the_final_channel_keeps_its_place_among_the_tokens() -> None:
    text = HARMONY + "\n  [[B]]<|return|>"
    found = read_verdict(
        Reply(text=text, top_logprobs=tuple((TokenChance(t, -0.1),) for t in (HARMONY, "\n  [[", "B", "]]")))
    )
    assert found.outcome is B
    assert found.p_a == pytest.approx(0.0)


def test_a_cut_rating_counts_only_where_it_cannot_go_on_and_nothing_else_was_asked_for() -> None:
    cut = Reply(text="7", finish_reason="length")
    assert read_score(cut, scale=(0, 9), mode="instruct").value == 7
    assert read_score(cut, scale=(0, 9), mode="reasoning").outcome is TRUNCATED
    one = Reply(text="1", finish_reason="length")
    assert read_score(one, scale=(0, 9), mode="instruct").value == 1
    assert read_score(one, scale=(1, 10), mode="instruct").outcome is TRUNCATED
    assert read_score(Reply(text="[[1]]", finish_reason="length"), scale=(1, 10)).value == 1


@pytest.mark.parametrize(
    ("reply", "outcome", "text"),
    [
        (Reply(text="1. Says 4.\n2. Shows why."), None, "1. Says 4.\n2. Shows why."),
        (Reply(text="1. Says", finish_reason="length"), TRUNCATED, ""),
        (Reply(text="<think>What counts"), TRUNCATED, ""),
        (Reply(text=""), UNREAD, ""),
        (Reply(text="I'm sorry, but I can't help with that."), REFUSED, ""),
        (Reply(error="500"), FAILED, ""),
    ],
)
def test_half_a_rubric_is_no_rubric(reply: Reply, outcome: Outcome | None, text: str) -> None:
    assert read_rubric(reply) == (outcome, text)


# -- laws


@pytest.mark.parametrize("protocol", VERDICTS)
@pytest.mark.parametrize("frame", ["{}", "Because.\n\n{}", "<think>[[A]] [[B>>A]]</think>So: {}", "{} it is"])
def test_every_verdict_survives_the_round_trip_in_both_orders(protocol: VerdictProtocol, frame: str) -> None:
    for label, (outcome, p_a) in VERDICTS[protocol].items():
        reply = Reply(text=frame.format(f"[[{label}]]"))
        as_shown = read_verdict(reply, protocol=protocol)
        swapped = read_verdict(reply, protocol=protocol, order="ba")
        assert (as_shown.outcome, as_shown.p_a) == (outcome, p_a)
        assert (swapped.outcome, swapped.p_a) == (outcome.swapped(), 1 - p_a)


@pytest.mark.parametrize("scale", [(0, 9), (1, 10), (0, 100)])
def test_every_rating_survives_the_round_trip(scale: tuple[int, int]) -> None:
    for score in range(scale[0], scale[1] + 1):
        assert read_score(Reply(text=f"Because.\n[[{score}]]"), scale=scale).value == score
        assert read_score(Reply(text=str(score)), scale=scale, mode="instruct").value == score


FINISH = st.sampled_from([None, "stop", "length", "content_filter", "tool_calls", "nonsense"])


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, judged=st.lists(TEXTS, max_size=2), finish=FINISH, code=st.sampled_from(["", CODE]))
def test_reading_is_total(text: str, judged: list[str], finish: str | None, code: str) -> None:
    reply = Reply(
        text=text, finish_reason=finish, top_logprobs=((TokenChance(text[-3:], -0.5), TokenChance("A", -2.0)),)
    )
    for protocol in VERDICTS:
        found = read_verdict(reply, judged=judged, protocol=protocol, code=code)
        assert isinstance(found.outcome, Outcome)
        assert found.answered == (found.p_a is not None)
        assert found.p_a is None or -1e-9 <= found.p_a <= 1 + 1e-9
        if finish == "content_filter":
            assert found.outcome is REFUSED
    rating = read_score(reply, judged=judged, scale=(1, 10), code=code)
    assert (rating.value is None) != (rating.outcome is None)
    assert rating.value is None or 1 <= rating.value <= 10
    need = read_need(reply, judged=judged)
    assert need.value in (0, 1) or need.outcome is not None
    lacking, rubric = read_rubric(reply)
    assert (lacking is None) == bool(rubric)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_what_was_cut_off_is_a_verdict_only_if_it_is_one_whole_mark(text: str) -> None:
    for protocol in VERDICTS:
        if verdict(text, protocol=protocol, finish_reason="length").is_verdict:
            split = split_reasoning(text)
            rest = text[split.start : split.end]
            assert MARK.fullmatch(rest.strip("*_`\"'. \t\r\n\x1c\x1d\x1e\x1f\x85\xa0\u2028\u2029")) is not None


def recorded_completions(count: int) -> list[str]:
    """A fixed draw of real judge texts over all files of records."""
    texts: list[str] = []
    for path in sorted(DATA.glob("records_*.jsonl.gz")) if DATA.exists() else []:
        for row in rows(path.name):
            for arm in row["arms"].values():
                texts += [t for t in (arm["completion_ab"], arm["completion_ba"]) if t]
    if not texts:
        pytest.skip(f"no recorded judgments in {DATA}")
    return random.Random(1).sample(texts, count)


def test_truncations_of_real_completions_are_never_coerced() -> None:
    draw = random.Random(2)
    for text in recorded_completions(400):
        for cut in [*(draw.randrange(len(text) + 1) for _ in range(6)), len(text)]:
            head = text[:cut]
            for protocol in VERDICTS:
                said = verdict(head, protocol=protocol)
                assert not said.is_verdict or said in {
                    VERDICTS[protocol][label][0]
                    for label in VERDICTS[protocol]
                    if label in head.replace(" ", "").upper()
                }
                cut_off = verdict(head, protocol=protocol, finish_reason="length")
                assert cut_off is TRUNCATED or MARK.fullmatch(head.strip()) is not None
            assert read_score(Reply(text=head, finish_reason="length")).outcome in (TRUNCATED, None)


@pytest.mark.parametrize(
    ("arm", "unread"), [("mercury", 4), ("mercury-coder", 1), ("claude-3-haiku-20240307", 13), ("minimax-m2.1", 85)]
)
def test_recorded_five_step_judgments_are_read_as_their_source_read_them(arm: str, unread: int) -> None:
    """The source takes a completion whose marks are all equal, and gives null otherwise (`unread` of the 540).

    Where marks differ we look at the last line; so each verdict of the source must be ours too, all of them, and only
    its nulls may become verdicts, by that rule alone.
    """
    agree = ours_only = neither = 0
    for row in rows("records_judgebench_claude.jsonl.gz"):
        judged = (row["prompt"], row["response_a"], row["response_b"])
        for order in ("ab", "ba"):
            recorded, text = row["arms"][arm][f"verdict_{order}"], row["arms"][arm][f"completion_{order}"]
            found = read_verdict(Reply(text=text), judged=judged, protocol="pairwise5", order=order).outcome
            assert found is not None
            if recorded is not None:
                assert found.value == recorded
                agree += 1
            elif found.is_verdict:
                assert len({m["label"] for m in MARK.finditer(text)}) > 1
                assert "[[" in text.rstrip().rsplit("\n", 1)[-1]
                ours_only += 1
            else:
                neither += 1
    assert (agree, ours_only + neither) == (540 - unread, unread)


def test_reading_takes_linear_time() -> None:
    size = 400_000
    for unit in (
        "[[A]]\n",
        "[",
        "[[",
        "[[A ",
        "[[\t",
        "<think>",
        "</think>",
        "<|",
        "<<<",
        "&#91;",
        "\u00e9[[",
        " ",
        "I can't ",
    ):
        text = unit * (size // len(unit))
        began = time.process_time()
        verdict(text, judged=(text,))
        read_score(Reply(text=text))
        defused(text)
        assert time.process_time() - began < 10  # under a second; a quadratic scan takes minutes
