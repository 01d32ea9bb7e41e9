"""Built-in prompts are rendered once and filled in for each pair: the same text as if rendered whole."""

from typing import Any

import pytest

from adjudge.judging import templates

TEXTS = {
    "prompt": "Why?\n{{ turn }} {% raw %}",
    "response_a": "\x00place\x00 It is.",
    "response_b": "It is not.",
    "response": "[[ A ]]",
}
WORDS: dict[str, Any] = {"mode": "instruct", "code": "", "marks": ("[[A]]", "[[B]]"), "low": 0, "high": 9}


@pytest.mark.parametrize("rubric", ["", "Be brief."])
@pytest.mark.parametrize("mode", ["instruct", "reasoning"])
@pytest.mark.parametrize("code", ["", "7f3ac1"])
@pytest.mark.parametrize("protocol", ["pairwise", "pairwise5", "pointwise", "rubric"])
def test_a_filled_prompt_is_the_rendered_prompt(protocol: str, mode: str, code: str, rubric: str) -> None:
    words, texts = WORDS | {"mode": mode, "code": code}, TEXTS | {"rubric": rubric}
    name = templates._BUILTIN[protocol]
    whole = templates._parted(templates._render(templates._builtin(name), words | texts))
    for _ in range(2):
        assert templates._filled(name, words, texts) == whole
    assert [message.role for message in whole] == ["system", "user"]


def test_the_texts_of_one_pair_do_not_stay_for_the_next() -> None:
    name = templates._BUILTIN["pairwise"]
    first = templates._filled(name, WORDS, TEXTS | {"rubric": "Be brief."})
    second = templates._filled(name, WORDS, TEXTS | {"rubric": "", "prompt": "Who?"})
    assert "Why?" in first[-1].content
    assert "Be brief." in first[-1].content
    assert "Why?" not in second[-1].content
    assert "Be brief." not in second[-1].content
