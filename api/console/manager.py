"""The manager's page: figures of the programme and the service, with charts. No figure names a person."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from api.console.visit import Manager
from cdp.store import figures, releases

router = APIRouter()
KEPT = 300  # seconds for which figures are shown again: they look at every profile
_kept: dict[tuple[str, object, int], dict[str, Any]] = {}


@router.get("/manager")
def manager(visit: Manager) -> Response:
    """All figures as of the data; months are counted back from there."""
    app = visit.app
    programme = app.programme.of(app.programme.spends or app.programme.unit)
    with app.store() as store:
        release = releases.newest(store)
        upto = min(app.clock(), release[0].as_of) if release else app.clock()
        name = (str(app.workspace.home), release[0].release_id if release else 0, int(app.clock().timestamp()) // KEPT)
        counted = _kept.get(name)
        if counted is None:
            counted = figures.figures(store, programme.programme, programme.unit, list(app.service.closed), upto)
            _in_units(counted, programme.terms.scale)
            _kept.clear()
            _kept[name] = counted
    consent = [
        {**row, "share": round(100 * row["value"] / row["all"]) if row["all"] else 0} for row in counted["consent"]
    ]
    return visit.page(
        "manager.html",
        figures={**counted, "consent": consent},
        unit=programme.unit,
        bar=bar,
        points_scale=programme.terms.scale,
    )


def _in_units(counted: dict[str, Any], scale: int) -> None:
    """The ledger counts in smallest parts, people in points."""
    for row in [*counted["moved"], *counted["expiring"]] if scale else []:
        row |= {name: row[name] / 10**scale for name in ("value", "other") if row.get(name)}


def bar(value: float, rows: list[dict[str, Any]], width: int, key: str = "value") -> int:
    """The length of a bar, the longest being the width; what is not nothing is seen."""
    longest = max((row[key] for row in rows), default=0)
    return max(1, round(width * value / longest)) if value and longest else 0
