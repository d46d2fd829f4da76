"""Connections to the store: who may log in as what, and how long a connection lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cdp.errors import StoreUnavailable
from cdp.store import server
from cdp.workspace import Workspace

SCHEMA = "store"
LAKE_SCHEMA = "lake"
LAKE_ROLE = "cdp_lake"
API_ROLE = "cdp_api"


@dataclass(frozen=True)
class Address:
    """Where one role reaches the database; `fields` are libpq's names (host, port, dbname, user, password)."""

    fields: dict[str, str]

    @property
    def conninfo(self) -> str:
        """The libpq connection string."""
        return make_conninfo("", **self.fields)


def owner_address(workspace: Workspace, database: str | None = None) -> Address:
    """The role that owns the store's schema and runs migrations and the pipeline."""
    url = workspace.settings.database_url
    if url is None:
        fields = {
            "host": str(server.socket_folder(workspace)),
            "port": "5432",
            "dbname": "cdp",
            "user": "cdp",
            "password": workspace.secrets["store_password"],
        }
    else:
        fields = {key: str(value) for key, value in conninfo_to_dict(url.get_secret_value()).items()}
        fields.setdefault("port", "5432")
    if database is not None:
        fields["dbname"] = database
    return Address({**fields, "connect_timeout": "10", "application_name": "cdp"})


def lake_address(workspace: Workspace) -> Address:
    """The lake's own role: it sees the catalog's schema and nothing of the store."""
    return _as_role(workspace, LAKE_ROLE, "lake_password")


def api_address(workspace: Workspace) -> Address:
    """The API's role: it sees the store and nothing of the lake's catalog."""
    return _as_role(workspace, API_ROLE, "api_password")


def _as_role(workspace: Workspace, role: str, secret: str) -> Address:
    fields = owner_address(workspace).fields
    return Address({**fields, "user": role, "password": workspace.secrets[secret]})


@contextmanager
def database(workspace: Workspace) -> Iterator[None]:
    """Keep the database reachable for the length of the block (starts the embedded one if that is used)."""
    if workspace.settings.database_url is not None:
        yield
        return
    with server.running(workspace):
        yield


def connect(address: Address) -> psycopg.Connection:
    """One connection whose bare names read the store; it commits each statement, unless in a `transaction()` block.

    Raises:
        StoreUnavailable: If the database cannot be reached; the message never holds the password.
    """
    try:
        return psycopg.connect(
            address.conninfo, autocommit=True, options=f"-c search_path={SCHEMA},public -c timezone=UTC"
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise StoreUnavailable(f"the database cannot be reached: {reason}", "run 'cdp doctor'") from error
