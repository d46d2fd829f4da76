"""Is it up, and can it answer."""

from fastapi import APIRouter, Response

from api.context import App
from api.metrics import CONTENT_TYPE
from api.problems import responses
from api.schemas import Health, Ready
from cdp.store import releases

router = APIRouter(tags=["operations"])


@router.get("/healthz")
def healthz() -> Health:
    """The process is up."""
    return Health()


@router.get("/readyz", responses=responses(503))
def readyz(app: App) -> Ready:
    """The store answers; with the newest release, if one was published."""
    with app.store() as store:
        found = releases.newest(store)
    release = found[0] if found else None
    return Ready(release=release.release_id if release else None, data_as_of=release.as_of if release else None)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}, **responses(503)},
)
def metrics(app: App) -> Response:
    """For Prometheus: requests by route, times, events, how far the audit log and the data are behind. Nothing about anybody."""
    with app.store() as store:
        found = releases.newest(store)
    app.metrics.unaudited.set(app.trail.waiting)
    if found:
        app.metrics.as_of.set(found[0].as_of.timestamp())
    return Response(app.metrics.text(), media_type=CONTENT_TYPE)
