"""The baseline: a FastAPI handler with psycopg that looks a document up and returns it; no key, no limit, no consent, no audit.

`uvicorn --factory benchmarks.api.bare:app`, with BARE_DATABASE naming the database.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from psycopg_pool import ConnectionPool
from pydantic import BaseModel


class Asked(BaseModel):
    type: str
    value: str


def app() -> FastAPI:
    pool = ConnectionPool(
        os.environ["BARE_DATABASE"],
        min_size=2,
        max_size=10,
        open=False,
        kwargs={"autocommit": True, "options": "-c search_path=store"},
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        pool.open()
        yield
        pool.close()

    made = FastAPI(lifespan=lifespan)

    @made.post("/lookup")
    def lookup(asked: Asked) -> Any:
        with pool.connection() as connection:
            row = connection.execute(
                "select document from bare_documents where type = %s and value = %s", [asked.type, asked.value]
            ).fetchone()
        return row[0] if row else None

    return made
