"""Writing what was bought: a judgment, its calls and its cost at once, or none of them."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store import rows, schema
from adjudge.store.claims import Run, finished, give_back
from adjudge.store.keep import Arrival, keep_entries, keep_pairs, keep_records, reserve
from adjudge.store.schema import judgments, runs
from adjudge.store.statements import insert_rows
from adjudge.store.values import Bought, Spend
from adjudge.types import Call, Judgment, Outcome

SPEND = ("judgments", "calls", "prompt_tokens", "output_tokens", "cost_usd", "unpriced_calls", "unmetered_calls")
_ADD_SPEND = (
    sa.update(runs)
    .where(runs.c.run_id == sa.bindparam("run"))
    .values({runs.c[name]: runs.c[name] + sa.bindparam(f"more_{name}") for name in SPEND})
)
_COLUMNS = ("judgment_id", "run_id", "key", "final_key", "arm_key", "pair_key", *rows.JUDGMENT_COLUMNS)


def put(connection: Connection, run: Run, bought: Sequence[Bought], came_ns: int) -> None:
    """Write judgments and give back their claims. `came_ns` orders those that were not claimed."""
    keys = list({b.wanted.key for b in bought})
    came = give_back(connection, run.id, keys)
    keep_pairs(connection, {b.wanted.pair_key: b.pair for b in bought})
    arrivals = [Arrival(b.wanted.pair_key, b.pair, came.get(b.wanted.key, came_ns + i)) for i, b in enumerate(bought)]
    ids = keep_records(connection, run.evaluator, arrivals)
    final = finished(connection, keys)
    new, new_calls, new_entries = [], [], {}
    numbers = reserve(connection, judgments.c.judgment_id, len(bought))
    for judgment_id, (wanted, _, judgment) in zip(numbers, bought, strict=True):
        key, pair_key, arm_key, arm = wanted
        first = key not in final and judgment.outcome is not Outcome.FAILED
        if first:
            final[key] = judgment_id
        place = (judgment_id, run.id, key, key if first else None, arm_key, pair_key)
        new.append((*place, *rows.judgment_row(judgment)))
        new_calls += [rows.call_row(judgment_id, i, call, judgment) for i, call in enumerate(judgment.calls)]
        record_id = ids[pair_key]
        new_entries[record_id, arm] = (record_id, arm, run.places[arm], final.get(key, judgment_id))
    insert_rows(connection, judgments, _COLUMNS, new)
    insert_rows(connection, schema.calls, rows.CALL_COLUMNS, new_calls)
    keep_entries(connection, list(new_entries.values()))
    spent = total([spend_of(b.judgment) for b in bought])
    connection.execute(_ADD_SPEND, {"run": run.id, **{f"more_{name}": getattr(spent, name) for name in SPEND}})


def spend_of(judgment: Judgment) -> Spend:
    """What one judgment cost. Without calls, what it says itself."""
    if not judgment.calls:
        return Spend(1, 0, 0, 0, judgment.cost_usd or 0.0, 0, 0)
    calls, prompt_tokens, output_tokens, cost_usd, unpriced, unmetered = 0, 0, 0, 0.0, 0, 0
    for call in judgment.calls:
        calls += call.attempts > 0  # a kept rubric, and what the cap left unasked, are no calls
        if call.usage is not None:
            prompt_tokens += call.usage.prompt_tokens
            output_tokens += call.usage.output_tokens
        cost_usd += call.cost_usd or 0.0
        unpriced += _is_unpriced(call)
        unmetered += call.unmetered_calls
    return Spend(1, calls, prompt_tokens, output_tokens, cost_usd, unpriced, unmetered)


def total(spends: Sequence[Spend]) -> Spend:
    return Spend(*(sum(column) for column in zip(*spends, strict=True)))


def _is_unpriced(call: Call) -> bool:
    """No price is known, and it is not known to be free: that is what was not asked, and what failed at every attempt
    without one that can have been billed."""
    free = call.attempts == 0 or (call.error is not None and call.usage is None and call.unmetered_calls == 0)
    return call.cost_usd is None and not free
