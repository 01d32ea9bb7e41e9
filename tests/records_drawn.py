"""Arbitrary records for property tests: any Unicode, any number that is a count, a share or a price."""

import msgspec
from hypothesis import strategies as st

from adjudge.types import Judgment, Outcome, Pair, Record

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
counts = st.integers(0, 2**53) | st.floats(0, 2**53)
prices = st.floats(0, allow_infinity=False, allow_nan=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
# Names that the schema uses itself, and names that look like those that are kept apart from it.
names = texts | st.sampled_from(["id", "evaluator", "arms", "p_a", "other", "meta.id", "extra.p_a", "meta.meta.gold"])
own_keys = st.dictionaries(names, json_values, max_size=3)


def maybe(strategy):
    return st.none() | strategy


pairs = st.builds(
    Pair,
    id=texts,
    prompt=maybe(texts),
    response_a=maybe(texts),
    response_b=maybe(texts),
    gold=st.sampled_from([None, "A", "B"]),
    domain=texts,
    source=texts,
    rubric=maybe(texts),
    responses=maybe(st.lists(texts, max_size=4).map(tuple)),
    gold_index=st.just(msgspec.UNSET) | st.none() | st.integers(0, 2**53 - 1),
    meta=own_keys,
)


@st.composite
def judgments(draw, arm: str) -> Judgment:
    """A judgment as a source can record it: an order that was not run has neither completion nor reasoning."""
    orders = {}
    for order in ("ab", "ba"):
        outcome = draw(st.sampled_from([None, *Outcome]))
        orders[order] = outcome
        if outcome is not None:
            orders |= {f"completion_{order}": draw(maybe(texts)), f"reasoning_{order}": draw(maybe(texts))}
    return Judgment(
        arm=arm,
        **orders,
        p_a=draw(maybe(st.floats(0, 1) | st.integers(0, 1))),
        prompt_tokens=draw(maybe(counts)),
        output_tokens=draw(maybe(counts)),
        cached_tokens=draw(maybe(counts)),
        reasoning_tokens=draw(maybe(counts)),
        cost_usd=draw(maybe(prices)),
        scores=draw(
            maybe(st.lists(st.lists(prices | prices.map(lambda x: -x), max_size=3).map(tuple), max_size=3).map(tuple))
        ),
        error=draw(maybe(texts)),
        extra=draw(own_keys),
    )


@st.composite
def _records(draw, of: Pair, evaluator: str) -> Record:
    arms = draw(st.lists(texts, unique=True, max_size=3))
    return Record(pair=of, evaluator=evaluator, judgments={arm: draw(judgments(arm)) for arm in arms})


@st.composite
def _many(draw) -> list[Record]:
    some = draw(st.lists(pairs, max_size=3, unique_by=lambda pair: pair.id))
    evaluators = draw(st.lists(texts, min_size=1, max_size=2, unique=True))
    return [draw(_records(of, evaluator)) for evaluator in evaluators for of in some]


# Records that can stand in one file and in one store: no id twice for one evaluator.
records = _many()
