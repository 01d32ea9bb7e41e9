"""The values that pass between the stages: pairs go in, judgments with their cost come out.

Everything here is frozen. Axes and units: token counts are tokens, money is US dollars, times are seconds. What passes
by the million is kept from the garbage collector (`gc=False`): values of texts and numbers cannot form cycles.
"""

import hashlib
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

Side = Literal["A", "B"]
Order = Literal["ab", "ba"]
Number = int | float


class Outcome(StrEnum):
    """What became of one question to a judge. Only `A`, `B` and `tie` are verdicts."""

    A = "A"
    B = "B"
    TIE = "tie"
    UNREAD = "unread"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def is_verdict(self) -> bool:
        return self in _VERDICTS

    def swapped(self) -> "Outcome":
        """The same outcome after the two responses change places.

        >>> Outcome.A.swapped(), Outcome.TIE.swapped()
        (<Outcome.B: 'B'>, <Outcome.TIE: 'tie'>)
        """
        return _SWAP.get(self, self)


_VERDICTS = frozenset({Outcome.A, Outcome.B, Outcome.TIE})
_SWAP = {Outcome.A: Outcome.B, Outcome.B: Outcome.A}


class Pair(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """Two responses to one prompt, and the preferred one where it is known.

    A best-of-n instance is a Pair too: `responses` holds its n texts, `response_a` and `response_b` are None, side A or
    B (drawn by a seeded hash of the id) stands for the response at `gold_index` and the other side for all the rest.
    Texts are None where a source published judgments without them. `gold_index` is UNSET for a plain pair and None for
    a best-of-n instance whose right response is not known. `meta` holds whatever else the source said, and is never a
    feature.
    """

    id: str
    prompt: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    gold: Side | None = None
    domain: str = ""
    source: str = ""
    rubric: str | None = None
    responses: tuple[str, ...] | None = None
    gold_index: int | msgspec.UnsetType | None = msgspec.UNSET
    meta: dict[str, Any] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """The responses to be judged: the two sides, or the n of a best-of-n instance; empty without texts."""
        if self.responses is not None:
            return self.responses
        if self.response_a is None or self.response_b is None:
            return ()
        return (self.response_a, self.response_b)

    def swapped(self) -> "Pair":
        """The same instance with A and B exchanged, the gold label following its response."""
        gold: Side | None = None if self.gold is None else ("B" if self.gold == "A" else "A")
        return msgspec.structs.replace(self, response_a=self.response_b, response_b=self.response_a, gold=gold)

    def content_key(self) -> str:
        """32 hex digits that change when the id or anything that a judge may read changes."""
        return digest(self.id, self.prompt, self.texts, self.rubric)


def digest(*parts: object) -> str:
    """32 hex digits of BLAKE2b over the JSON of the parts; equal parts give equal digits on every machine."""
    return hashlib.blake2b(msgspec.json.encode(parts, order="deterministic"), digest_size=16).hexdigest()


def drawn_side(pair_id: str, seed: int = 0) -> Side:
    """The side that the right response takes, drawn by a seeded hash of the id, never by its place in a file."""
    return "A" if hashlib.blake2b(f"{seed}:{pair_id}".encode(), digest_size=1).digest()[0] & 1 else "B"


class Usage(msgspec.Struct, gc=False, frozen=True):
    """Tokens as the server billed them. Cached tokens are part of the prompt, reasoning tokens part of the output."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """US dollars per million tokens; `cached_input` is the price of `input` when it is not given."""

    input: float
    output: float
    cached_input: float | None = None

    def cost_usd(self, usage: Usage) -> float:
        """Price of one call.

        >>> Price(input=1.0, output=10.0, cached_input=0.1).cost_usd(Usage(1_000_000, 100_000, 500_000))
        1.55
        """
        cached = self.input if self.cached_input is None else self.cached_input
        fresh = usage.prompt_tokens - usage.cached_tokens
        return (fresh * self.input + usage.cached_tokens * cached + usage.output_tokens * self.output) / 1e6


AskKind = Literal["verdict", "score", "rubric", "need", "repair"]


class Message(NamedTuple):
    role: Literal["system", "user", "assistant"]
    content: str


class Ask(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One question for a backend, and its address within the judgment (a replay finds its answer by it).

    `body` holds the request fields beside the messages (model, temperature, max_tokens, ...). `choices` are the strings
    that the answer must be one of, for backends that can constrain the output; others ignore it.
    """

    pair_id: str
    arm: str
    kind: AskKind
    messages: tuple[Message, ...]
    body: dict[str, Any]
    order: Order | None = None
    response_index: int | None = None
    sample: int = 0
    choices: tuple[str, ...] = ()


class TokenChance(NamedTuple):
    token: str
    logprob: float


class Reply(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """What came back for one Ask, after all retries.

    `error` is set when no usable reply came; text and reasoning are then whatever was read. `usage` is None when the
    server did not say what it billed. `unmetered_calls` counts attempts that may have been billed and whose usage could
    not be read. `top_logprobs` has one tuple of candidates per position of `text`, the drawn token first. `recorded` is
    an outcome that was read at the source (replay), to be used as it is.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    refusal: str | None = None
    top_logprobs: tuple[tuple[TokenChance, ...], ...] = ()
    usage: Usage | None = None
    model: str | None = None
    latency_s: float = 0.0
    attempts: int = 1
    unmetered_calls: int = 0
    error: str | None = None
    recorded: Outcome | None = None


class Call(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One Ask with its Reply as it is kept, read and priced. `value` is a rating where the call was one."""

    kind: AskKind
    arm: str
    order: Order | None = None
    response_index: int | None = None
    sample: int = 0
    outcome: Outcome | None = None
    value: float | None = None
    p_a: float | None = None
    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    latency_s: float = 0.0
    attempts: int = 1
    unmetered_calls: int = 0
    model: str | None = None
    error: str | None = None


NOT_BOUGHT = "not bought"
"""How the error of a judgment begins that a cap on spending kept from being bought."""


class Judgment(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """One arm's outcome on one pair, with what it cost.

    `ab` is the outcome when a was shown first, `ba` when b was; None: not run in that order. Both are named after the
    original a and b. Tokens are per verdict (one presentation order; fractional where two orders were averaged), None
    where the source did not record them. `cost_usd` is for the whole judgment, None when no price is known.
    `scores` holds, per response, the ratings that were read. `calls` is empty for imported judgments, `extra` holds
    what their source said beyond the schema.
    """

    arm: str
    ab: Outcome | None = None
    ba: Outcome | None = None
    p_a: float | None = None
    prompt_tokens: Number | None = None
    output_tokens: Number | None = None
    cached_tokens: Number | None = None
    reasoning_tokens: Number | None = None
    cost_usd: float | None = None
    completion_ab: str | None = None
    completion_ba: str | None = None
    reasoning_ab: str | None = None
    reasoning_ba: str | None = None
    scores: tuple[tuple[float, ...], ...] | None = None
    error: str | None = None
    extra: dict[str, Any] = {}
    calls: tuple[Call, ...] = ()

    @property
    def bought(self) -> bool:
        """False where a cap kept some or all of it from being asked: it says nothing about the judge."""
        return self.error is None or not self.error.startswith(NOT_BOUGHT)

    @property
    def orders(self) -> tuple[Outcome, ...]:
        """The outcomes of the orders that were run."""
        return tuple(o for o in (self.ab, self.ba) if o is not None)

    @property
    def outcome(self) -> Outcome:
        """The outcome over the orders run: agreement gives the verdict, two verdicts that disagree are a tie.

        When one order gave a verdict and the other none, or neither did, the outcome is the one that is no verdict
        (the more serious: failed, then refused, truncated, unread): half a comparison is never passed off as a verdict.

        >>> Judgment(arm="x", ab=Outcome.A, ba=Outcome.B).outcome
        <Outcome.TIE: 'tie'>
        >>> Judgment(arm="x", ab=Outcome.A, ba=Outcome.TRUNCATED).outcome
        <Outcome.TRUNCATED: 'truncated'>
        """
        if self.ba is None or self.ab is None or self.ab == self.ba:
            return self.ab or self.ba or Outcome.FAILED
        ran = {self.ab, self.ba}
        for bad in (Outcome.FAILED, Outcome.REFUSED, Outcome.TRUNCATED, Outcome.UNREAD):
            if bad in ran:
                return bad
        return Outcome.TIE

    @property
    def consistent(self) -> bool | None:
        """Whether both orders gave the same verdict; None unless both gave one."""
        if self.ab is None or self.ba is None or not (self.ab.is_verdict and self.ba.is_verdict):
            return None
        return self.ab == self.ba


class Record(msgspec.Struct, gc=False, frozen=True, kw_only=True):
    """A pair with the judgments of one evaluator (a judge model or a family of them), by arm name."""

    pair: Pair
    evaluator: str
    judgments: dict[str, Judgment]


def reward(outcome: Outcome, gold: Side) -> float:
    """1 if the verdict is the gold label, 0.5 for a tie, 0 otherwise, what is no verdict included.

    >>> reward(Outcome.TIE, "A"), reward(Outcome.TRUNCATED, "A")
    (0.5, 0.0)
    """
    return 0.5 if outcome is Outcome.TIE else float(outcome == gold)
