"""Is it up, and can it answer."""

from fastapi import APIRouter

from api.context import App
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
