"""Pairs of the lab's controlled world: two responses to a brief, the better one by the program that is gold there.

They are near each other (MOST_GAP points of 9 at most), as the pairs are that a judge is asked about. The domain is the
hardest thing that the brief asks for.
"""

from random import Random

from adjudge.errors import DataError
from adjudge.lab.world.items import Brief, draw_brief, draw_response
from adjudge.lab.world.program_gold import check
from adjudge.types import Pair, drawn_side

SOURCE = "adjudge/world"
MOST_GAP = 4
MOST_PAIRS = 100_000
DOMAINS = {"order": "before", "repetition": "twice", "avoidance": "avoid"}
"""Domain -> the requirement that makes it, the hardest first; `form` is what has none of them."""


def make_briefs(n: int, seed: int, name: str) -> list[Pair]:
    """The first `n` pairs of a seed; `name` keeps sets apart. Raises DataError over MOST_PAIRS.

    >>> pair = make_briefs(1, 0, "learn")[0]
    >>> pair.id, pair.domain in {*DOMAINS, "form"}, pair.gold in ("A", "B")
    ('demo-0-learn-0001', True, True)
    """
    if not 1 <= n <= MOST_PAIRS:
        raise DataError(f"{n} demo pairs are asked for", remedy=f"ask for 1 to {MOST_PAIRS}")
    return [_pair(f"demo-{seed}-{name}-{index + 1:04d}") for index in range(n)]


def _pair(pair_id: str) -> Pair:
    rng = Random(pair_id)
    while True:
        brief = draw_brief(rng)
        one, other = draw_response(brief, rng), draw_response(brief, rng)
        scores = check(brief, one).score, check(brief, other).score
        if 0 < abs(scores[0] - scores[1]) <= MOST_GAP:
            break
    (better, high), (worse, low) = sorted(zip((one, other), scores, strict=True), key=lambda r: -r[1])
    side = drawn_side(pair_id)
    a, b = (better, worse) if side == "A" else (worse, better)
    return Pair(
        id=pair_id,
        prompt=brief.text(),
        response_a=a,
        response_b=b,
        gold=side,
        domain=_domain(brief),
        source=SOURCE,
        meta={"gold_scores": {"better": high, "worse": low}},
    )


def _domain(brief: Brief) -> str:
    asked = {requirement.kind for requirement in brief.requirements}
    return next((domain for domain, kind in DOMAINS.items() if kind in asked), "form")
