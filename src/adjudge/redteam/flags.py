"""What the scanner finds: a flag with its evidence. And what it reads: anything written by a policy."""

from typing import Protocol

import msgspec

QUOTE = 160  # characters of evidence at most

KINDS = ("policy_refusal", "end_mark", "self_assessment", "invented_rule", "frame", "template")
"""In the order in which arXiv 2603.12246 found them stacked, then what others found."""


class Written(Protocol):
    """A response to a prompt at one step of a training."""

    @property
    def step(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def prompt(self) -> str: ...
    @property
    def response(self) -> str: ...


class Flag(msgspec.Struct, frozen=True):
    """`quote`: response[start:end], cut to QUOTE characters. `why`: what it is evidence of."""

    kind: str
    start: int
    end: int
    quote: str
    why: str


def flag(kind: str, response: str, start: int, end: int, why: str) -> Flag:
    return Flag(kind, start, end, response[start : min(end, start + QUOTE)], why)
