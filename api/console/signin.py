"""Signing in and out, and the language of the pages."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from api.console import accounts, page, words
from api.console.visit import COOKIE, LANGUAGE, Anybody, Forged, NotSignedIn, posted, visiting
from api.context import Context
from cdp import access
from cdp.store import users

router = APIRouter()
MOST_SIGN_INS = 120  # a minute from one address


def language_of(request: Request) -> str:
    """The language of a visitor who has not signed in."""
    chosen = request.cookies.get(LANGUAGE, "")
    return chosen if chosen in words.NAMES else words.preferred(request.headers.get("accept-language", ""))


def form(request: Request, status: int = 200, wrong: str = "") -> Response:
    """The page to sign in."""
    return page.render("signin.html", language_of(request), status, wrong=wrong)


@router.get("/sign-in")
async def ask(request: Request) -> Response:
    """The form; whoever is signed in goes on to work."""
    try:
        await visiting(None)(request)
    except NotSignedIn:
        return form(request)
    return RedirectResponse("/console/", 303)


@router.post("/sign-in")
async def take(request: Request) -> Response:
    """Begin a session. The form needs no token: whoever forges it signs nobody in but themselves, and other sites are refused."""
    app: Context = request.app.state.context
    said = dict(await posted(request))
    who = request.client.host if request.client else ""
    if app.limiter.take(f"sign-in {who}", MOST_SIGN_INS).remaining < 0:
        return form(request, 429, "too many sign-ins from here: wait a minute")
    try:
        token = await run_in_threadpool(accounts.signed_in, app, said.get("name", ""), said.get("password", ""))
    except accounts.SignInRefused as refused:
        return form(request, 401, refused.message)
    answer = RedirectResponse("/console/", 303, headers=page.HEADERS)
    answer.set_cookie(
        COOKIE, token, max_age=int(access.LASTS.total_seconds()), path="/console", httponly=True, samesite="strict",
        secure=request.url.scheme == "https" or (app.workspace.settings.public_url or "").startswith("https:"),
    )  # fmt: skip
    return answer


@router.post("/sign-out")
def leave(visit: Anybody) -> Response:
    """End the session, here and in the store."""
    with visit.app.store() as store:
        users.end(store, visit.session.token_hash, visit.app.clock() - access.LASTS)
    answer = RedirectResponse("/console/sign-in", 303, headers=page.HEADERS)
    answer.delete_cookie(COOKIE, path="/console")
    return answer


@router.post("/language")
async def choose(request: Request) -> Response:
    """Another language: of the account where somebody is signed in, else of this browser."""
    said = dict(await posted(request))
    chosen = said.get("language", "en")
    if chosen not in words.NAMES:
        raise Forged("this language is not spoken here")
    try:
        visit = await visiting(None)(request)
    except NotSignedIn:
        answer = RedirectResponse("/console/sign-in", 303, headers=page.HEADERS)
        answer.set_cookie(LANGUAGE, chosen, path="/console", samesite="strict", max_age=31_536_000)
        return answer

    def keep() -> None:
        with visit.app.store() as store:
            users.change(store, visit.user.name, language=chosen)

    await run_in_threadpool(keep)
    return RedirectResponse(
        said["back"] if said.get("back", "").startswith("/console/") else "/console/", 303, headers=page.HEADERS
    )
