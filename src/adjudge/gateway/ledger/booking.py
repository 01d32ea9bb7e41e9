"""One batch in one transaction."""

import sqlalchemy as sa

from adjudge.errors import CapReached
from adjudge.gateway.ledger import sql
from adjudge.gateway.ledger.batch import Answer, Batch, decide
from adjudge.store.statements import is_postgresql


def book(connection: sa.Connection, run_id: int, number: int, batch: Batch, now_s: float) -> Answer:
    """Decide on the batch and write what it changes. `number` is kept, so that a batch is not booked twice."""
    accounts = sql.locked(connection, batch.names())
    after, answer = decide(batch, accounts, now_s, {})
    refused = {told.account for told in answer.told if isinstance(told, CapReached)}
    if refused:
        lost = sql.presumed(connection, set(accounts), answer.hour_s)
        if lost:
            after, answer = decide(batch, accounts, now_s, lost)
    changed = [account for name, account in after.items() if account != accounts[name]]
    sql.put_accounts(connection, changed)
    sql.add_bookings(connection, batch.bookings)
    if is_postgresql(connection):
        new = {at: booking for at, booking in batch.bookings.items() if at[0] not in accounts}
        sql.add_spent_to_new(connection, new)
    sql.add_holds(connection, run_id, answer.changes)
    if changed or batch.bookings:
        sql.set_batch(connection, run_id, number)
    return answer
