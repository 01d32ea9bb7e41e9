"""Values for tests of the store."""

import sqlalchemy as sa

from adjudge.store import schema
from adjudge.store.store import Bought, Store, Wanted
from adjudge.types import Call, Judgment, Outcome, Pair, Usage, digest

ARMS = {"key-plain": ("plain", "{}"), "key-think": ("think", "{}")}
NAMES = {key: name for key, (name, _) in ARMS.items()}


def pair(number: int | str, **fields) -> Pair:
    texts = {"prompt": f"prompt {number}", "response_a": f"a {number}", "response_b": f"b {number}"}
    return Pair(**{"id": f"p{number}", "gold": "A", "domain": "d", "source": "s", **texts, **fields})


def wanted(of: Pair, arm_key: str = "key-plain", arm: str | None = None) -> Wanted:
    key = of.content_key()
    return Wanted(digest(key, arm_key), key, arm_key, arm or NAMES[arm_key])


def call(**fields) -> Call:
    plain = {"kind": "verdict", "arm": "plain", "order": "ab", "outcome": Outcome.A, "text": "so: [[A]]"}
    return Call(**{**plain, "usage": Usage(100, 10, 60, 4), "cost_usd": 0.25, "latency_s": 0.5, "model": "m", **fields})


def judgment(outcome: Outcome = Outcome.A, arm: str = "plain", **fields) -> Judgment:
    """One call that cost 100 + 10 tokens and 0.25 $."""
    plain = {"ab": outcome, "prompt_tokens": 100, "output_tokens": 10, "cost_usd": 0.25, "completion_ab": "so: [[A]]"}
    return Judgment(arm=arm, **{**plain, "calls": (call(arm=arm, outcome=outcome),), **fields})


def bought(of: Pair, what: Judgment | None = None, arm_key: str = "key-plain") -> Bought:
    want = wanted(of, arm_key)
    return Bought(want, of, what or judgment(arm=want.arm))


def count(store: Store, table: str) -> int:
    """How many rows a table has."""
    with store._database.read() as connection:
        return int(
            connection.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[table])).scalar_one()
        )
