"""The agent's console: pages over the functions that answer the API, at `/console`."""

from typing import Any
from urllib.parse import urlsplit

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from psycopg_pool import PoolTimeout
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api.console import actions, customer, desk, insight, manager, page, phrases, queue, search, signin, why, words
from api.console.visit import NotSignedIn, Visit
from cdp.errors import CdpError, StoreUnavailable


class Quiet(StaticFiles):
    """Styles and script, kept by browsers for an hour."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """One file."""
        answer = super().file_response(*args, **kwargs)
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer


def create_console(state: Any) -> FastAPI:
    """The console as an application of its own, over the state of the API's."""
    console = FastAPI(title="Console", openapi_url=None, docs_url=None, redoc_url=None)
    console.state = state
    console.mount("/static", Quiet(directory=page.HERE / "static"), name="static")
    for part in (signin, search, customer, actions, why, queue, desk, manager, insight):
        console.include_router(part.router)

    @console.exception_handler(NotSignedIn)
    def _sign_in(request: Request, _: NotSignedIn) -> Response:
        if request.headers.get("x-fragment") == "1":
            return Response(status_code=401, headers=page.HEADERS)
        return RedirectResponse("/console/sign-in", 303, headers=page.HEADERS)

    @console.exception_handler(CdpError)
    def _known(request: Request, error: CdpError) -> Response:
        return told(request, error.status_code, error.message, error.hint)

    @console.exception_handler(RequestValidationError)
    @console.exception_handler(ValidationError)
    @console.exception_handler(psycopg.DataError)
    def _invalid(request: Request, _: Exception) -> Response:
        return told(request, 422, "the form holds something that cannot be meant", "")

    @console.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        return told(
            request,
            error.status_code,
            "there is no such page" if error.status_code == 404 else "this cannot be done here",
            "",
        )

    @console.exception_handler(psycopg.OperationalError)
    @console.exception_handler(PoolTimeout)
    def _database(request: Request, _: Exception) -> Response:
        return told(request, 503, StoreUnavailable("the database does not answer; try again in a moment").message, "")

    return console


def told(request: Request, status: int, message: str, hint: str) -> Response:
    """A page that says what went wrong, and the way on; it asks nothing of the store."""
    visit: Visit | None = getattr(request.state, "visit", None)
    language = visit.language if visit is not None else signin.language_of(request)
    translate = words.translations(language).gettext
    said = {"message": phrases.told(message, translate), "hint": phrases.told(hint, translate) if hint else ""}
    if visit is None:
        return page.render("error.html", language, status, **said)
    came = urlsplit(request.headers.get("referer", ""))
    ours = came.netloc == request.headers.get("host", "") and came.path.startswith("/console/")
    return visit.page("error.html", status, back=came.path if ours and request.method == "POST" else "", **said)
