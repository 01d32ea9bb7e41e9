"""What tests of reading replies share: outcomes by name, texts that try the reader, and recorded rows."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from adjudge.judging.reading import VerdictProtocol, read_verdict
from adjudge.types import Outcome, Reply
from tests.recorded import DATA

A, B, TIE = Outcome.A, Outcome.B, Outcome.TIE
UNREAD, TRUNCATED, REFUSED, FAILED = Outcome.UNREAD, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.FAILED
CODE = "7f3ac1d90b22"

# fmt: off
PIECES = st.sampled_from([
    "[[A]]", "[[B]]", "[[C]]", "[[a]]", "[[A>>B]]", "[[B>A]]", "[[7]]", "[[10]]", "[[yes]]", f"[[A {CODE}]]", "[ [A] ]",
    "A", "7", "[", "]", "<think>", "</think>", "[THINK]", "**", "word", "I'm sorry, but I can't", "<|im_end|>",
    "<|channel|>final<|message|>", "<|channel|>analysis<|message|>", "<|end|>", "<|start|>assistant", "&#91;",
    "\n", "\n\n", " ", "\x00", "\u200b", "\uff3b", "\u2028", "\ud800",
])
# fmt: on
TEXTS = st.one_of(st.text(st.characters(), max_size=60), st.lists(PIECES, max_size=12).map("".join))


def rows(name: str) -> Iterator[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with gzip.open(path) as file:
        yield from map(json.loads, file)


def verdict(text: str, judged: tuple[str, ...] = (), protocol: VerdictProtocol = "pairwise", **reply: Any) -> Outcome:
    found = read_verdict(Reply(text=text, **reply), judged=judged, protocol=protocol).outcome
    assert found is not None
    return found
