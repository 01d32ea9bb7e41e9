"""The tables of a store, as the newest migration leaves them.

    runs ──< claims                    what is being bought, and by whom
      └───< judgments ──< calls        what was bought: append only, every attempt at a judgment has its row
    pairs ──< records ──< entries ──> judgments
                                       what counts: one record per (evaluator, pair), one entry per arm of it
    runs ──< ledger_holds, ledger_batches; ledger_accounts, ledger_hours; gateway_keys
                                       the gateway's: what may be spent, what is reserved, what was spent, by whom

Times are nanoseconds since 1970 UTC by the clock of the database's host. JSON is kept as text, which keeps the order of
its keys and every digit of its numbers.
"""

import sqlalchemy as sa

from adjudge.store.columns import Exact, Id, Words

REVISION = "0002"
VERSION_TABLE = "adjudge_version"

metadata = sa.MetaData()

# What a judge may read, under a hash of it (Pair.content_key).
pairs = sa.Table(
    "pairs",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("id", Words, nullable=False, index=True),
    sa.Column("rubric", Words),
    sa.Column("prompt", Words),
    sa.Column("response_a", Words),
    sa.Column("response_b", Words),
    sa.Column("responses", Words),  # JSON list of the n texts of a best-of-n instance
)

# One (evaluator, pair), with what was said about the pair beside its texts. `came_ns` orders records as their pairs
# came in. `current_id` is the pair's id, null once the evaluator was given other texts under the same id.
records = sa.Table(
    "records",
    metadata,
    sa.Column("record_id", Id, primary_key=True),
    sa.Column("came_ns", sa.BigInteger, nullable=False),
    sa.Column("evaluator", Words, nullable=False),
    sa.Column("pair_key", sa.Text, sa.ForeignKey("pairs.key"), nullable=False),
    sa.Column("current_id", Words),
    sa.Column("source", Words, nullable=False),
    sa.Column("domain", Words, nullable=False),
    sa.Column("gold", sa.Text),
    sa.Column("gold_index", sa.Text),  # JSON: null in the database is "not a best-of-n", `null` in JSON is "not known"
    sa.Column("meta", Words),  # JSON object
    sa.UniqueConstraint("pair_key", "evaluator", name="records_pair"),
    sa.UniqueConstraint("evaluator", "current_id", name="records_current"),
    sa.Index("records_came", "came_ns", "record_id"),
)

# The arms of an evaluator in the order in which they were first run.
arms = sa.Table(
    "arms",
    metadata,
    sa.Column("arm_id", Id, primary_key=True),
    sa.Column("evaluator", Words, nullable=False),
    sa.Column("name", Words, nullable=False),
    sa.Column("arm_key", sa.Text, nullable=False),
    sa.Column("definition", Words, nullable=False),  # JSON without secrets
    sa.UniqueConstraint("evaluator", "name", "arm_key", name="arms_definition"),
)

# Runs of judging and imports (`kind`), with what each has spent.
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # judge | import | serve
    sa.Column("evaluator", Words),
    sa.Column("origin", Words),  # of an import: where the records came from
    sa.Column("host", Words, nullable=False),
    sa.Column("pid", sa.BigInteger, nullable=False),
    sa.Column("process_started", sa.Text, nullable=False),
    sa.Column("started_ns", sa.BigInteger, nullable=False),
    sa.Column("heartbeat_ns", sa.BigInteger, nullable=False),
    sa.Column("ended_ns", sa.BigInteger),
    sa.Column("judgments", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("output_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cost_usd", sa.Double, nullable=False, server_default="0"),
    sa.Column("unpriced_calls", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("unmetered_calls", sa.BigInteger, nullable=False, server_default="0"),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), nullable=False, index=True),
    sa.Column("came_ns", sa.BigInteger, nullable=False),
)

# `final_key` is `key` where the judgment is finished and the first of its key, null for failed attempts, for what was
# bought twice, and for imported judgments, which have no key.
judgments = sa.Table(
    "judgments",
    metadata,
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
    sa.Column("scores", sa.Text),  # JSON: per response, the ratings read
    sa.Column("error", Words),
    sa.Column("extra", Words),  # JSON object
    sa.Column("completion_ab", Words),
    sa.Column("completion_ba", Words),
    sa.Column("reasoning_ab", Words),
    sa.Column("reasoning_ba", Words),
)

# Which judgment counts for an arm of a record; `place` orders the arms.
entries = sa.Table(
    "entries",
    metadata,
    sa.Column("record_id", Id, sa.ForeignKey("records.record_id"), primary_key=True, autoincrement=False),
    sa.Column("arm", Words, primary_key=True),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Column("judgment_id", Id, sa.ForeignKey("judgments.judgment_id"), nullable=False),
    sqlite_with_rowid=False,
)

# `text` and `reasoning` are null where they are the judgment's completion and reasoning of the call's order.
calls = sa.Table(
    "calls",
    metadata,
    sa.Column("judgment_id", Id, sa.ForeignKey("judgments.judgment_id"), primary_key=True, autoincrement=False),
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("arm", Words, nullable=False),
    sa.Column("presented", sa.Text),  # ab | ba
    sa.Column("response_index", sa.BigInteger),
    sa.Column("sample", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("value", Exact),
    sa.Column("p_a", Exact),
    sa.Column("prompt_tokens", sa.BigInteger),  # the four counts are null where the server did not say
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

rubrics = sa.Table(
    "rubrics",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), nullable=False),
    sa.Column("text", Words, nullable=False),
)

# One account of the gateway's ledger that has caps, or had: a key's, or "" for the whole service. Its row is the lock
# under which its budget is given out. Nano-dollars; `hour_s` is the hour, and says the day, that is counted. `held` is
# the sum of the account's `ledger_holds` in the same time, `spent` of its `ledger_hours`.
ledger_accounts = sa.Table(
    "ledger_accounts",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("hour_cap", sa.BigInteger),
    sa.Column("day_cap", sa.BigInteger),
    sa.Column("all_cap", sa.BigInteger),
    sa.Column("hour_s", sa.BigInteger, nullable=False),
    sa.Column("hour_spent", sa.BigInteger, nullable=False),
    sa.Column("hour_held", sa.BigInteger, nullable=False),
    sa.Column("day_spent", sa.BigInteger, nullable=False),
    sa.Column("day_held", sa.BigInteger, nullable=False),
    sa.Column("all_spent", sa.BigInteger, nullable=False),
    sa.Column("all_held", sa.BigInteger, nullable=False),
)

# What was settled, by the hour in which it was reserved.
ledger_hours = sa.Table(
    "ledger_hours",
    metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("hour_s", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("spent", sa.BigInteger, nullable=False),  # nano-dollars
    sa.Column("overrun", sa.BigInteger, nullable=False),  # nano-dollars of it beyond the reservations
    sa.Column("overruns", sa.BigInteger, nullable=False),
    sa.Column("units", sa.Double, nullable=False),
    sa.Column("judgments", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("output_tokens", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# What a process holds of an account: its open reservations and what it keeps at hand. `presumed`: it died, and what it
# held counts as spent.
ledger_holds = sa.Table(
    "ledger_holds",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), primary_key=True, autoincrement=False),
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("hour_s", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("presumed", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)

# The last batch that a process booked: a batch whose commit was not answered is not booked twice.
ledger_batches = sa.Table(
    "ledger_batches",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.run_id"), primary_key=True, autoincrement=False),
    sa.Column("batch", sa.BigInteger, nullable=False),
)

# The caps of a key stand in `ledger_accounts`, under its id. Rows are added and revoked, never changed otherwise.
gateway_keys = sa.Table(
    "gateway_keys",
    metadata,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("secret_hash", sa.Text, nullable=False),  # SHA-256, hexadecimal
    sa.Column("scopes", sa.Text, nullable=False),  # separated by spaces
    sa.Column("per_minute", sa.Double),  # requests
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger),
    sa.Column("revoked_ns", sa.BigInteger),
)
