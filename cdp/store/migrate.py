"""Bring the database to the shape this program needs: roles, schemas, then Alembic's migrations."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import create_engine, pool

from cdp.errors import WorkspaceError
from cdp.store.connect import API_ROLE, LAKE_ROLE, LAKE_SCHEMA, SCHEMA, connect, owner_address
from cdp.workspace import Workspace

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 7_201_001
# What the API's role writes, beside reading: what an agent's merge, split or undo does, consent, requests, the audit log.
WRITTEN = {
    "contact_records": "insert, update, delete",
    "identifiers": "insert, update, delete",
    "customers": "insert, update",
    "assignment": "insert, update, delete",
    "assignment_history": "insert",
    "profiles": "insert, update, delete",
    "changes": "insert, update",
    "changesets": "insert, update",
    "link_decisions": "insert, update",
    "review_pairs": "delete",
    "consent_decisions": "insert",
    "unsubscribe_links": "insert",
    "privacy_requests": "insert, update",
    "privacy_steps": "insert, update",
    "ledger_accounts": "insert, update (balance, version, last_at)",
    "ledger_entries": "insert",
    "ledger_lots": "insert, update, delete",
    "ledger_allocations": "insert, delete",
    "ledger_deficits": "insert, update, delete",
    "ledger_holds": "insert, update",
    "ledger_approvals": "insert, update",
    "plan_events": "insert",
    "circle_events": "insert",
    "grants": "insert, update",
    "offers": "insert, update",
    "referral_codes": "insert",
    "referrals": "insert",
    "till_allowances": "insert",
    "till_spends": "insert",
    "inbox": "insert",
    "idempotency_keys": "insert",
    "webhooks": "insert, update, delete",
    "webhook_dead_letters": "update",
    "users": "insert, update",
    "sessions": "insert, update, delete",
    "reveals": "insert, update, delete",
    "notes": "insert, update (removed_at, removed_by)",
    "audit_log": "insert",
    "audit_seals": "insert",
}


def migrate(workspace: Workspace) -> None:
    """Create what is missing and upgrade what is old; safe to call at once from several processes."""
    _create_database(workspace)
    address = owner_address(workspace)
    with connect(address) as connection:
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        _create_roles(connection, workspace)
        # creator= hands SQLAlchemy our own connections: the password never becomes a URL
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(address.conninfo),
            poolclass=pool.NullPool,
        )
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with engine.connect() as alchemy:
            config.attributes["connection"] = alchemy
            command.upgrade(config, "head")
            alchemy.commit()
        _grant(connection)


def require_migrated(store: psycopg.Connection) -> None:
    """Say what to do where the store has not the shape this program needs.

    Raises:
        WorkspaceError: If its newest migration is not this program's.
    """
    newest = max(path.name.split("_")[0] for path in MIGRATIONS.joinpath("versions").glob("[0-9]*.py"))
    made = store.execute("select to_regclass('alembic_version') is not null").fetchall()[0][0]
    found = str(store.execute("select version_num from alembic_version").fetchall()[0][0]) if made else ""
    if found > newest:
        raise WorkspaceError("the store was made by a newer version of this program", "install that version")
    if found < newest:
        raise WorkspaceError(
            "the store was made by an older version of this program", "run 'cdp init' to bring it up to date"
        )


def _create_database(workspace: Workspace) -> None:
    if workspace.settings.database_url is not None:
        return
    with connect(owner_address(workspace, "postgres")) as connection:
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        if not connection.execute("select 1 from pg_database where datname = 'cdp'").fetchall():
            connection.execute("create database cdp")


def _create_roles(connection: psycopg.Connection, workspace: Workspace) -> None:
    for role, secret in ((LAKE_ROLE, "lake_password"), (API_ROLE, "api_password")):
        known = connection.execute("select 1 from pg_roles where rolname = %s", [role]).fetchall()
        verb = "alter" if known else "create"
        connection.execute(
            sql.SQL(verb + " role {} login password {}").format(
                sql.Identifier(role), sql.Literal(workspace.secrets[secret])
            )
        )
    connection.execute("revoke create on schema public from public")
    connection.execute(
        sql.SQL("create schema if not exists {} authorization {}").format(
            sql.Identifier(LAKE_SCHEMA), sql.Identifier(LAKE_ROLE)
        )
    )
    connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA)))


def _grant(connection: psycopg.Connection) -> None:
    schema, api = sql.Identifier(SCHEMA), sql.Identifier(API_ROLE)
    connection.execute(sql.SQL("grant usage on schema {} to {}").format(schema, api))
    connection.execute(sql.SQL("grant select on all tables in schema {} to {}").format(schema, api))
    connection.execute(sql.SQL("grant update (last_used_at) on {}.api_keys to {}").format(schema, api))
    for table, rights in WRITTEN.items():
        grant = sql.SQL("grant " + rights + " on {}.{} to {}")
        connection.execute(grant.format(schema, sql.Identifier(table), api))
