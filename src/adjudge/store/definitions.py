"""Arms whose meaning changed: one name that an evaluator's records were judged with under several definitions."""

from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adjudge.store.schema import arms, entries, judgments, records


class Definition(NamedTuple):
    """One meaning of an arm's name.

    `text` is the arm as JSON. `counting` judgments of the evaluator's present records are of it; `passed_over` are too,
    and do not count, because the same pair was asked for again under another definition.
    """

    evaluator: str
    arm: str
    text: str
    counting: int
    passed_over: int


def several(connection: Connection, evaluator: str | None) -> dict[tuple[str, str], list[Definition]]:
    """(evaluator, arm) -> its definitions, the first run first, for every arm that was judged under two or more.

    Imported judgments say nothing of their definition and are left out.
    """
    renewed = sa.select(arms.c.evaluator, arms.c.name).group_by(arms.c.evaluator, arms.c.name)
    renewed = renewed.having(sa.func.count() > 1)
    if evaluator is not None:
        renewed = renewed.where(arms.c.evaluator == evaluator)
    if connection.execute(renewed.limit(1)).first() is None:
        return {}  # as nearly always; what follows looks at every judgment
    named = renewed.subquery()
    counts = entries.c.judgment_id.is_not(None)
    query = (
        sa.select(
            arms.c.evaluator,
            arms.c.name,
            arms.c.definition,
            sa.func.count(entries.c.judgment_id),
            sa.func.count(sa.distinct(records.c.record_id)) - sa.func.count(entries.c.judgment_id),
        )
        .select_from(arms)
        .join(named, sa.and_(named.c.evaluator == arms.c.evaluator, named.c.name == arms.c.name))
        .join(judgments, judgments.c.arm_key == arms.c.arm_key)
        .join(
            records,
            sa.and_(
                records.c.pair_key == judgments.c.pair_key,
                records.c.evaluator == arms.c.evaluator,
                records.c.current_id.is_not(None),
            ),
        )
        .outerjoin(
            entries,
            sa.and_(
                entries.c.record_id == records.c.record_id,
                entries.c.arm == arms.c.name,
                entries.c.judgment_id == judgments.c.judgment_id,
            ),
        )
        .where(sa.or_(counts, judgments.c.final_key.is_not(None)))
        .group_by(arms.c.arm_id, arms.c.evaluator, arms.c.name, arms.c.definition)
        .order_by(arms.c.arm_id)
    )
    found: dict[tuple[str, str], list[Definition]] = {}
    for row in connection.execute(query):
        definition = Definition(*row)
        found.setdefault((definition.evaluator, definition.arm), []).append(definition)
    return {key: definitions for key, definitions in found.items() if len(definitions) > 1}
