"""Pairs, records, judgments with their calls, runs and claims, rubrics."""

import sqlalchemy as sa
from alembic import op

from adjudge.store.columns import Exact, Id, Words

revision = "0001"
down_revision = None


def upgrade() -> None:
    _pairs_and_records()
    _runs()
    _judgments()
    _calls()


def _pairs_and_records() -> None:
    op.create_table(
        "pairs",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("id", Words, nullable=False),
        sa.Column("rubric", Words),
        sa.Column("prompt", Words),
        sa.Column("response_a", Words),
        sa.Column("response_b", Words),
        sa.Column("responses", Words),
    )
    op.create_index("ix_pairs_id", "pairs", ["id"])
    op.create_table(
        "records",
        sa.Column("record_id", Id, primary_key=True),
        sa.Column("came_ns", sa.BigInteger, nullable=False),
        sa.Column("evaluator", Words, nullable=False),
        sa.Column("pair_key", sa.Text, sa.ForeignKey("pairs.key"), nullable=False),
        sa.Column("current_id", Words),
        sa.Column("source", Words, nullable=False),
        sa.Column("domain", Words, nullable=False),
        sa.Column("gold", sa.Text),
        sa.Column("gold_index", sa.Text),
        sa.Column("meta", Words),
        sa.UniqueConstraint("pair_key", "evaluator", name="records_pair"),
        sa.UniqueConstraint("evaluator", "current_id", name="records_current"),
    )
    op.create_index("records_came", "records", ["came_ns", "record_id"])


def _runs() -> None:
    op.create_table(
        "arms",
        sa.Column("arm_id", Id, primary_key=True),
        sa.Column("evaluator", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("arm_key", sa.Text, nullable=False),
        sa.Column("definition", Words, nullable=False),
        sa.UniqueConstraint("evaluator", "name", "arm_key", name="arms_definition"),
    )
    counts = ("judgments", "calls", "prompt_tokens", "output_tokens", "unpriced_calls", "unmetered_calls")
    op.create_table(
        "runs",
        sa.Column("run_id", Id, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("evaluator", Words),
        sa.Column("origin", Words),
        sa.Column("host", Words, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("process_started", sa.Text, nullable=False),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("heartbeat_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("cost_usd", sa.Double, nullable=False, server_default="0"),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in counts),
    )
    op.create_table(
        "claims",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("came_ns", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_claims_run_id", "claims", ["run_id"])
    op.create_table(
        "rubrics",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("text", Words, nullable=False),
    )


def _judgments() -> None:
    op.create_table(
        "judgments",
        sa.Column("judgment_id", Id, primary_key=True),
        sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("final_key", sa.Text, unique=True),
        sa.Column("arm_key", sa.Text),
        sa.Column("pair_key", sa.Text, sa.ForeignKey("pairs.key"), nullable=False),
        sa.Column("outcome_ab", sa.Text),
        sa.Column("outcome_ba", sa.Text),
        sa.Column("p_a", Exact),
        sa.Column("prompt_tokens", Exact),
        sa.Column("output_tokens", Exact),
        sa.Column("cached_tokens", Exact),
        sa.Column("reasoning_tokens", Exact),
        sa.Column("cost_usd", Exact),
        sa.Column("scores", sa.Text),
        sa.Column("error", Words),
        sa.Column("extra", Words),
        sa.Column("completion_ab", Words),
        sa.Column("completion_ba", Words),
        sa.Column("reasoning_ab", Words),
        sa.Column("reasoning_ba", Words),
    )
    op.create_table(
        "entries",
        sa.Column("record_id", Id, sa.ForeignKey("records.record_id"), primary_key=True, autoincrement=False),
        sa.Column("arm", Words, primary_key=True),
        sa.Column("place", sa.BigInteger, nullable=False),
        sa.Column("judgment_id", Id, sa.ForeignKey("judgments.judgment_id"), nullable=False),
        sqlite_with_rowid=False,
    )


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("judgment_id", Id, sa.ForeignKey("judgments.judgment_id"), primary_key=True, autoincrement=False),
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("arm", Words, nullable=False),
        sa.Column("presented", sa.Text),
        sa.Column("response_index", sa.BigInteger),
        sa.Column("sample", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("value", Exact),
        sa.Column("p_a", Exact),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("cached_tokens", sa.BigInteger),
        sa.Column("reasoning_tokens", sa.BigInteger),
        sa.Column("cost_usd", Exact),
        sa.Column("latency_s", Exact, nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("unmetered_calls", sa.BigInteger, nullable=False),
        sa.Column("finish_reason", Words),
        sa.Column("model", Words),
        sa.Column("error", Words),
        sa.Column("text", Words),
        sa.Column("reasoning", Words),
    )
