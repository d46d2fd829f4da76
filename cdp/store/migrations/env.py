"""Alembic's entry point: it runs on the connection that `cdp.store.migrate` hands it."""

from alembic import context

from cdp.store.connect import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
