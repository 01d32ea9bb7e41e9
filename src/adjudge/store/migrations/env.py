"""Run by Alembic; the connection comes from adjudge.store.migrate, inside its transaction."""

from alembic import context

from adjudge.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
with context.begin_transaction():
    context.run_migrations()
