"""Sales of tills and tickets of help desks, one or many: the rows of their files, sooner."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from api.context import App, Caller, requires
from api.problems import Forbidden, responses
from api.schemas import Model, Moment, Truth, Whole
from cdp.sources.posted import Row, sale_rows, ticket_rows
from cdp.store import inbox

router = APIRouter(prefix="/v1", tags=["events"])
Sender = Annotated[Caller, Depends(requires("events:write"))]
Money = Annotated[str, Field(pattern=r"^-?\d{1,12}(\.\d{1,4})?$", examples=["12.50"])]


class ReceiptLine(BaseModel):
    """One line of a receipt."""

    model_config = ConfigDict(extra="forbid")

    line_no: Whole = Field(ge=1, le=10_000, examples=[1])
    sku: str = Field(min_length=1, max_length=200, examples=["MUG"])
    description: str | None = Field(default=None, max_length=500, examples=["Mug"])
    quantity: Whole = Field(ge=-1_000_000, le=1_000_000, examples=[2], description="Negative is a return")
    unit_price: Money
    discount: Money | None = None


class Receipt(BaseModel):
    """One transaction of a till, in the columns of its file."""

    model_config = ConfigDict(extra="forbid")

    transaction_id: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$", examples=["T-42-0001"])
    store_id: str = Field(min_length=1, max_length=80, examples=["S01"])
    till: str | None = Field(default=None, max_length=80)
    sold_at: Moment = Field(examples=["2026-11-11T09:30:00+08:00"])
    loyalty_card: str | None = Field(default=None, max_length=80, examples=["7001234567890"])
    phone: str | None = Field(default=None, max_length=80)
    email: str | None = Field(default=None, max_length=320)
    customer_name: str | None = Field(default=None, max_length=200)
    marketing_opt_in: Truth | None = None
    currency: str = Field(pattern="^[A-Z]{3}$", examples=["GBP"])
    tender: str | None = Field(default=None, max_length=80)
    points_redeemed: Whole | None = Field(default=None, ge=0, le=10**12)
    original_transaction_id: str | None = Field(
        default=None, max_length=80, description="The sale that a return refers to"
    )
    lines: list[ReceiptLine] = Field(min_length=1, max_length=500)


class Receipts(BaseModel):
    """Several transactions at once."""

    model_config = ConfigDict(extra="forbid")

    sales: list[Receipt] = Field(min_length=1, max_length=1000)


class Requester(BaseModel):
    """Who wrote, as the help desk knows it."""

    name: str | None = Field(default=None, max_length=200)
    email: str | None = Field(default=None, max_length=320)
    phone: str | None = Field(default=None, max_length=80)


class PostedTicket(BaseModel):
    """A ticket as it is now, in the shape of the help desk's export; members that the contract does not know are kept out."""

    id: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$", examples=["100001"])
    created_at: Moment
    updated_at: Moment
    via: dict[str, str] | None = Field(default=None, examples=[{"channel": "wechat"}])
    requester: Requester
    subject: str | None = Field(default=None, max_length=1000)
    description: str | None = Field(default=None, max_length=10_000)
    status: str | None = Field(default=None, max_length=80, examples=["open"])
    order_ref: str | None = Field(default=None, max_length=80)
    tags: list[str] | None = Field(default=None, max_length=100)
    satisfaction_rating: str | None = Field(default=None, max_length=80)
    nps: Whole | None = Field(default=None, ge=0, le=10)


class PostedTickets(BaseModel):
    """Several tickets at once."""

    model_config = ConfigDict(extra="forbid")

    tickets: list[PostedTicket] = Field(min_length=1, max_length=1000)


class Accepted(Model):
    """Durable. The contract judges each row as it would in a file: what it refuses is quarantined, not lost."""

    rows: int = Field(examples=[2], description="Receipt lines or tickets")
    known: int = Field(examples=[0], description="Of them, those that were sent before")


@router.post("/pos/sales", status_code=202, responses=responses(401, 403, 422, 503))
def post_sales(asked: Receipt | Receipts, app: App, caller: Sender) -> Accepted:
    """Sales as tills record them; the key's source is the tills'. The same again adds nothing, also by file."""
    sales = asked.sales if isinstance(asked, Receipts) else [asked]
    return _keep(app, caller, sale_rows(sale.model_dump(mode="json") for sale in sales))


@router.post("/service/tickets", status_code=202, responses=responses(401, 403, 422, 503))
def post_tickets(asked: PostedTicket | PostedTickets, app: App, caller: Sender) -> Accepted:
    """Tickets as they are now; a later `updated_at` is an update of the same ticket."""
    tickets = asked.tickets if isinstance(asked, PostedTickets) else [asked]
    return _keep(app, caller, ticket_rows(ticket.model_dump(mode="json", exclude_none=True) for ticket in tickets))


def _keep(app: App, caller: Caller, rows: list[Row]) -> Accepted:
    if caller.key.source is None:
        raise Forbidden("this key belongs to no source: make one with --source")
    with app.store() as store, store.transaction():
        new = inbox.add(store, caller.key.source, rows, app.clock())
    app.metrics.events.labels(caller.key.source).inc(len(rows))
    return Accepted(rows=len(rows), known=len(rows) - new)
