"""Pairs that this project makes itself, each label true by construction: computed, run, checked, derived or looked up.

Which answer is longer is drawn like a coin, so that length does not give the label away; which one is A is drawn by a
hash of the id, as for every other source.
"""

from collections.abc import Callable
from random import Random

from adjudge.demo import arithmetic, constraints, facts, logic, programs
from adjudge.demo.drafts import Draft
from adjudge.errors import DataError
from adjudge.types import Pair, drawn_side

SOURCE = "adjudge/demo"
MAKERS: dict[str, Callable[[Random], Draft]] = {
    "math": arithmetic.draw,
    "code": programs.draw,
    "instruction": constraints.draw,
    "facts": facts.draw,
    "logic": logic.draw,
}
MOST_PAIRS = 500
"""Beyond this the makers begin to run out of new prompts."""

_TRIES = 400


def make_pairs(n: int, seed: int = 0) -> list[Pair]:
    """The first `n` pairs of a seed, no prompt twice, the domains in turn. Raises DataError over MOST_PAIRS.

    >>> pair = make_pairs(1)[0]
    >>> pair.domain, pair.gold in ("A", "B"), make_pairs(3)[0] == pair
    ('math', True, True)
    """
    if not 1 <= n <= MOST_PAIRS:
        raise DataError(f"{n} demo pairs are asked for", remedy=f"ask for 1 to {MOST_PAIRS}")
    domains, prompts = list(MAKERS), set[str]()
    pairs = []
    for index in range(n):
        domain = domains[index % len(domains)]
        pair_id = f"demo-{seed}-{domain}-{index // len(domains) + 1:03d}"
        draft = _new(MAKERS[domain], Random(pair_id), prompts)
        prompts.add(draft.prompt)
        pairs.append(_pair(pair_id, domain, draft))
    return pairs


def _new(make: Callable[[Random], Draft], rng: Random, used: set[str]) -> Draft:
    """A draft with a new prompt, its right answer the longer or the shorter one as a coin says."""
    longer = rng.random() < 0.5
    fallback = None
    for _ in range(_TRIES):
        draft = make(rng)
        if draft.prompt in used or draft.right == draft.wrong:
            continue
        gap = len(draft.right) - len(draft.wrong)
        if gap and (gap > 0) == longer:
            return draft
        fallback = draft
    assert fallback is not None, "no new prompt in many draws: lower MOST_PAIRS"
    return fallback


def _pair(pair_id: str, domain: str, draft: Draft) -> Pair:
    side = drawn_side(pair_id)
    a, b = (draft.right, draft.wrong) if side == "A" else (draft.wrong, draft.right)
    return Pair(
        id=pair_id,
        prompt=draft.prompt,
        response_a=a,
        response_b=b,
        gold=side,
        domain=domain,
        source=SOURCE,
        meta={"proof": draft.proof},
    )
