"""Connections to the store: one pool for threads, one for the event loop.

What is asked most, the lookup, runs on the event loop: a thread more costs it more than its query. Both pools replace a
line that went stale (the database restarted) once, without asking `select 1` before every query.
"""

import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import orjson
import psycopg
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from cdp.store.connect import SCHEMA

WAIT = 5  # seconds for a free connection
# its queries look up by key: planning them anew costs more than it finds
OPTIONS = f"-c search_path={SCHEMA} -c timezone=UTC -c statement_timeout=10s -c plan_cache_mode=force_generic_plan"


class Pools:
    """Both pools of one process.

    Args:
        address: Connection string of the API's role.
    """

    def __init__(self, address: str) -> None:
        settings: dict[str, Any] = {
            "min_size": 2,
            "max_size": 10,
            "open": False,
            "timeout": WAIT,
            "kwargs": {"autocommit": True, "options": OPTIONS},
        }
        self._threads = ConnectionPool(address, configure=_reads_json, **settings)
        self._loop = AsyncConnectionPool(address, configure=_reads_json_too, **settings)

    async def open(self) -> None:
        """Begin to connect."""
        self._threads.open()
        await self._loop.open()

    async def close(self) -> None:
        """Close every connection."""
        self._threads.close()
        await self._loop.close()

    @contextmanager
    def store(self) -> Iterator[psycopg.Connection]:
        """A connection for one request."""
        with self._threads.connection() as connection:
            try:
                if _spoken(connection.pgconn.socket):
                    connection.execute("select 1")
            except psycopg.OperationalError:
                connection.close()
            else:
                yield connection
                return
        self._threads.check()
        with self._threads.connection() as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """The same on the event loop."""
        async with self._loop.connection() as connection:
            try:
                if _spoken(connection.pgconn.socket):
                    await connection.execute("select 1")
            except psycopg.OperationalError:
                await connection.close()
            else:
                yield connection
                return
        await self._loop.check()
        async with self._loop.connection() as connection:
            yield connection


def _spoken(line: int) -> bool:
    """Whether the server said something to an idle connection: a farewell, most often, before it closed the line."""
    looked = select.poll()
    looked.register(line, select.POLLIN)
    return bool(looked.poll(0))


def _reads_json(connection: psycopg.Connection) -> None:
    set_json_loads(orjson.loads, connection)


async def _reads_json_too(connection: psycopg.AsyncConnection) -> None:
    set_json_loads(orjson.loads, connection)
