"""The gateway's ledger and keys. Tables are added and none is changed."""

import sqlalchemy as sa
from alembic import op

from adjudge.store.columns import Id, Words

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _accounts()
    _holds()
    op.create_table(
        "gateway_keys",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("name", Words, nullable=False),
        sa.Column("secret_hash", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("per_minute", sa.Double),
        sa.Column("created_ns", sa.BigInteger, nullable=False),
        sa.Column("expires_ns", sa.BigInteger),
        sa.Column("revoked_ns", sa.BigInteger),
    )


def _accounts() -> None:
    caps = ("hour_cap", "day_cap", "all_cap")
    amounts = ("hour_s", "hour_spent", "hour_held", "day_spent", "day_held", "all_spent", "all_held")
    op.create_table(
        "ledger_accounts",
        sa.Column("account", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger) for name in caps),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in amounts),
    )
    op.create_table(
        "ledger_hours",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("hour_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("spent", sa.BigInteger, nullable=False),
        sa.Column("overrun", sa.BigInteger, nullable=False),
        sa.Column("overruns", sa.BigInteger, nullable=False),
        sa.Column("units", sa.Double, nullable=False),
        sa.Column("judgments", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _holds() -> None:
    op.create_table(
        "ledger_holds",
        sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), primary_key=True, autoincrement=False),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("hour_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("presumed", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_batches",
        sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), primary_key=True, autoincrement=False),
        sa.Column("batch", sa.BigInteger, nullable=False),
    )
