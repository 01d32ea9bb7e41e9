"""Log-probabilities to a share or an expected score, counted by hand."""

import math

import pytest

from adjudge.judging.chances import expected_score, label_chances
from adjudge.judging.reading import (
    read_score,
    read_verdict,
)
from adjudge.types import Reply, TokenChance
from tests.replies import A, B


def at(token: str, **others: float) -> tuple[TokenChance, ...]:
    """The drawn token first, with p 0.5, then the others."""
    return (TokenChance(token, math.log(0.5)), *(TokenChance(t, math.log(p)) for t, p in others.items()))


def test_p_a_is_renormalised_over_the_verdict_tokens() -> None:
    # p(A) 0.5 + 0.1, p(B) 0.2, p(C) 0.1, and 0.1 that is no verdict: p_a = (0.6 + 0.05) / 0.9
    top = (at("[["), (*at("A", B=0.2, C=0.1, D=0.1), TokenChance(" A", -2.302585092994046)), at("]]"), at("<|im_end|>"))
    found = read_verdict(Reply(text="[[A]]", top_logprobs=top))
    assert found.outcome is A
    assert found.p_a == pytest.approx(0.65 / 0.9)
    swapped = read_verdict(Reply(text="[[A]]", top_logprobs=top), order="ba")
    assert swapped.outcome is B
    assert swapped.p_a == pytest.approx(1 - 0.65 / 0.9)


def test_the_verdict_token_is_found_behind_reasoning_and_inside_a_longer_token() -> None:
    top = (at("So"), at(" [[B", **{" [[A": 0.25}), at("]]\n"))
    assert read_verdict(Reply(text="So [[B]]", top_logprobs=top)).p_a == pytest.approx(1 / 3)
    top = (at("think"), at("So"), at(" [[B", **{" [[A": 0.25}), at("]]"))
    assert read_verdict(Reply(text="So [[B]]", top_logprobs=top)).p_a == pytest.approx(1 / 3)


def test_log_probabilities_that_do_not_line_up_are_not_used() -> None:
    top = (at("[["), at("B", A=0.25), at("]]"))
    assert read_verdict(Reply(text="[[A]]", top_logprobs=top)).p_a == 1.0
    assert label_chances(Reply(text="[[A]]", top_logprobs=((),) * 5), 2, ("A", "B")) is None
    nan = (at("[["), (TokenChance("A", float("nan")), TokenChance("B", float("nan"))), at("]]"))
    assert read_verdict(Reply(text="[[A]]", top_logprobs=nan)).p_a == 1.0


def test_a_five_step_share_comes_from_the_table_whatever_the_tokens_say() -> None:
    top = (at("[["), at("A", B=0.5), at(">"), at("B"), at("]]"))
    assert read_verdict(Reply(text="[[A>B]]", top_logprobs=top), protocol="pairwise5").p_a == 0.75


def test_an_expected_score_is_the_mean_over_the_score_tokens() -> None:
    # 7: 0.5, 8: 0.2 + 0.1 (with a space), 3: 0.1; the word takes no part: (3.5 + 2.4 + 0.3) / 0.9
    top = ((*at("7", the=0.05), *at("8", **{" 8": 0.1, "3": 0.1})[1:], TokenChance("8", -1.6094379124341003)),)
    found = read_score(Reply(text="7", top_logprobs=top), scale=(0, 9), mode="instruct")
    assert found.value == pytest.approx(6.2 / 0.9)


def test_where_tokens_cannot_tell_one_from_ten_the_text_is_used() -> None:
    digits = (at("8", **{"1": 0.3, "7": 0.2}),)
    assert expected_score(Reply(text="8", top_logprobs=digits), 0, (1, 10)) is None
    assert read_score(Reply(text="8", top_logprobs=digits), scale=(1, 10), mode="instruct").value == 8
    assert expected_score(Reply(text="8", top_logprobs=digits), 0, (0, 9)) == pytest.approx(4 + 0.3 + 1.4)
    whole = (at("8", **{"1": 0.25, "10": 0.25}),)
    assert expected_score(Reply(text="8", top_logprobs=whole), 0, (1, 10)) == pytest.approx(4 + 0.25 + 2.5)
    slight = (at("8", **{"1": 0.0001, "7": 0.4999}),)
    assert expected_score(Reply(text="8", top_logprobs=slight), 0, (1, 10)) == pytest.approx(7.4994)
    ten = (at("1", **{"8": 0.5}), at("0", **{"<|im_end|>": 0.5}))
    assert read_score(Reply(text="10", top_logprobs=ten), scale=(1, 10), mode="instruct").value == 10
