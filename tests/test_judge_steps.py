"""The steps around a verdict: its repair, the rubric before it, the choice of an arm, the replay of a recording."""

import msgspec
import pytest

from adjudge.types import Ask, Outcome, Pair, Reply, Usage
from tests.judging import ARMS, FAILED, PAIR, REFUSED, SETTINGS, TRUNCATED, UNREAD, A, B, arm, run, shown, texts

# -- repair


def test_only_what_was_unread_is_asked_again_and_its_cost_counts() -> None:
    first = {"ab": Reply(text="A, I guess", usage=Usage(100, 10)), "ba": Reply(text="[[B]]", usage=Usage(200, 20))}

    def model(ask: Ask) -> Reply:
        return Reply(text="[[A]]", usage=Usage(300, 1)) if ask.kind == "repair" else first[ask.order or ""]

    judgment, [_, [again]] = run(PAIR, ARMS["plain"], model)
    assert (again.kind, again.order, again.sample) == ("repair", "ab", 0)
    assert [m.role for m in again.messages] == ["system", "user", "assistant", "user"]
    assert again.messages[2].content == "A, I guess"
    assert again.choices == ("[[A]]", "[[B]]", "[[C]]")
    assert (judgment.ab, judgment.ba, judgment.p_a) == (A, A, 1.0)
    assert (judgment.prompt_tokens, judgment.output_tokens) == (300, 15.5)  # (100 + 300 + 200) / 2, (10 + 1 + 20) / 2
    assert judgment.cost_usd == pytest.approx((600 * 1 + 31 * 10) / 1e6)
    assert judgment.completion_ab == "A, I guess\n\n---\n\n[[A]]"
    assert [(c.kind, c.outcome) for c in judgment.calls] == [("verdict", UNREAD), ("repair", A), ("verdict", A)]


@pytest.mark.parametrize(
    "second",
    [Reply(text="dunno"), Reply(text="[[A]] I", finish_reason="length"), Reply(error="503"), Reply(refusal="No")],
)
def test_a_repair_that_gives_nothing_leaves_the_draw_unread(second: Reply) -> None:
    said = {"repair": second, "verdict": Reply(text="")}
    judgment, batches = run(PAIR, arm("plain", orders="ab"), lambda ask: said[ask.kind])
    assert (judgment.ab, len(batches), judgment.error) == (UNREAD, 2, second.error)
    assert batches[1][0].messages[2].content == "(no answer)"


def test_a_rating_is_repaired_with_a_bare_number() -> None:
    judgment, [_, again] = run(PAIR, ARMS["score"], texts("7", "about six", "6"))
    assert [(a.response_index, a.choices) for a in again] == [(1, tuple("0123456789"))]
    assert "0 to 9" in again[0].messages[-1].content
    assert judgment.scores == ((7,), (6,))


def test_a_repair_asks_for_nothing_but_the_rating_so_one_at_the_cap_is_whole() -> None:
    said = {"score": Reply(text="Hm."), "repair": Reply(text="6", finish_reason="length")}
    judgment, _ = run(PAIR, arm("score", mode="reasoning"), lambda ask: said[ask.kind])
    assert judgment.scores == ((6,), (6,))


def test_reasoning_is_not_said_back_to_the_judge_and_is_switched_off_where_that_is_sure() -> None:
    thinking = arm("think", orders="ab", switch="template")
    _, [[ask], [again]] = run(PAIR, thinking, texts("<think>It is [[A]]</think>Both are fine <|im_end|>", "[[C]]"))
    assert again.messages[2].content == "Both are fine < |im_end|>"
    assert ask.body["chat_template_kwargs"] == {"enable_thinking": True}
    assert again.body["chat_template_kwargs"] == {"enable_thinking": False}


# -- rubric, self-routing, replay


def test_a_rubric_is_written_from_the_prompt_alone_then_judged_by_and_paid_for() -> None:
    said = {
        "rubric": Reply(text="1. Says [[A]] four.", usage=Usage(50, 30)),
        "verdict": Reply(text="[[A]]", usage=Usage(100, 2)),
    }
    judgment, [[writing], judging] = run(PAIR, ARMS["guided"], lambda ask: said[ask.kind])
    assert (writing.kind, writing.arm, writing.body["model"]) == ("rubric", "writer", "w")
    assert shown(writing) == {"PROMPT": PAIR.prompt}
    assert "four" not in writing.messages[0].content + writing.messages[1].content
    assert [shown(a)["RUBRIC"] for a in judging] == ["1. Says [ [A] ] four."] * 2
    # (50 x 5 + 30 x 50 + 2 x (100 x 1 + 2 x 10)) / 1e6 dollars; per verdict (50 + 200) / 2 and (30 + 4) / 2 tokens
    assert judgment.cost_usd == pytest.approx((250 + 1500 + 240) / 1e6)
    assert (judgment.prompt_tokens, judgment.output_tokens) == (125, 17)
    assert [c.arm for c in judgment.calls] == ["writer", "guided", "guided"]


def test_a_rubric_out_of_the_store_costs_nothing_more() -> None:
    said = {"rubric": Reply(text="1. Four.", usage=Usage()), "verdict": Reply(text="[[C]]", usage=Usage(100, 2))}
    judgment, _ = run(PAIR, ARMS["guided"], lambda ask: said[ask.kind])
    assert judgment.cost_usd == pytest.approx(2 * (100 + 20) / 1e6)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(text="1. Fo", finish_reason="length", usage=Usage(50, 30)), TRUNCATED),
        (Reply(text="", usage=Usage(50, 30)), UNREAD),
        (Reply(text="I'm sorry, but I can't help with that.", usage=Usage(50, 30)), REFUSED),
        (Reply(error="cut", unmetered_calls=1), FAILED),
    ],
)
def test_without_its_rubric_nothing_is_judged(reply: Reply, outcome: Outcome) -> None:
    judgment, batches = run(PAIR, ARMS["guided"], lambda ask: reply)
    assert len(batches) == 1
    assert (judgment.ab, judgment.ba) == (outcome, outcome)
    assert judgment.error
    assert judgment.output_tokens == (15 if reply.usage else None)
    assert judgment.cost_usd == (pytest.approx((250 + 1500) / 1e6) if reply.usage else None)


def test_a_pairs_own_rubric_is_used_and_none_is_bought() -> None:
    own = msgspec.structs.replace(PAIR, rubric="Four, </think> and brief.")
    for name in ("guided", "item"):
        _, [asks] = run(own, ARMS[name], texts("[[A]]", "[[B]]"))
        assert shown(asks[0])["RUBRIC"] == "Four, < /think> and brief."


def test_a_rubric_file_is_shown_as_its_owner_wrote_it() -> None:
    _, [asks] = run(PAIR, ARMS["file"], texts("[[A]]", "[[B]]"))
    assert shown(asks[0])["RUBRIC"] == SETTINGS.texts["house.txt"]


@pytest.mark.parametrize(
    ("answer", "goes_to", "outcome"),
    [("[[no]]", "plain", None), ("[[yes]]", "think", None), ("maybe", "think", UNREAD), ("", "think", UNREAD)],
)
def test_self_routing_asks_first_and_what_it_cannot_read_goes_to_reasoning(
    answer: str, goes_to: str, outcome: Outcome | None
) -> None:
    said = {"need": Reply(text=answer, usage=Usage(60, 1)), "verdict": Reply(text="[[A]]", usage=Usage(100, 10))}
    judgment, [[need], judging] = run(PAIR, ARMS["self"], lambda ask: said[ask.kind])
    assert (need.kind, need.arm, need.choices) == ("need", "self", ("[[yes]]", "[[no]]"))
    assert shown(need) == {"PROMPT": PAIR.prompt, "RESPONSE A": "It is four.", "RESPONSE B": "It is five."}
    assert {a.arm for a in judging} == {goes_to}
    assert judgment.arm == "self"
    assert judgment.calls[0].outcome is outcome
    price = {"plain": (1, 10), "think": (2, 20)}[goes_to]
    assert judgment.cost_usd == pytest.approx((60 * 4 + 40 + 2 * (100 * price[0] + 10 * price[1])) / 1e6)
    assert (judgment.prompt_tokens, judgment.output_tokens) == (130, 10.5)


def test_a_replay_is_asked_for_each_order_and_its_outcome_is_kept() -> None:
    recorded = {"ab": Reply(text="[[B]]", recorded=A, usage=Usage(5, 3)), "ba": Reply(text="", recorded=UNREAD)}
    judgment, [asks] = run(Pair(id="x"), ARMS["replay"], lambda ask: recorded[ask.order or ""])
    assert [(a.kind, a.order, a.messages) for a in asks] == [("verdict", "ab", ()), ("verdict", "ba", ())]
    assert (judgment.ab, judgment.ba, judgment.completion_ab, judgment.output_tokens) == (A, UNREAD, "[[B]]", None)


def test_a_replayed_pointwise_arm_gives_its_ratings_back() -> None:
    text = '{"scores_by_response": [[4, 5], [3, null]]}'
    judgment, [[ask]] = run(Pair(id="x"), arm("replay", protocol="pointwise"), lambda ask: Reply(text=text, recorded=B))
    assert (ask.kind, ask.order) == ("verdict", "ab")
    assert (judgment.ab, judgment.scores, judgment.completion_ab) == (B, ((4, 5), (3,)), text)
