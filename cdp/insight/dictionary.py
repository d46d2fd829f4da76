"""The metric dictionary: one definition of each figure, with its window and denominator, wherever it is shown."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a figure means.

    Attributes:
        unit: How it is written.
        numerator: What is counted.
        denominator: Out of what; nothing for a plain sum or count.
    """

    unit: Literal["customers", "orders", "share", "money", "number", "hours"]
    numerator: str
    denominator: str = ""


PERIOD = "Of a channel or of all; over the 365 days up to the run (`year`), or a month. A channel is the source that recorded the order (of a ticket: its way in)."
METRICS = {
    "active_customers": Metric("customers", "customers with an order in the period"),
    "orders": Metric("orders", "orders of customers in the period"),
    "net_revenue": Metric("money", "sales less returns in the period, each on the day it happened, in the currency of reports"),
    "purchase_frequency": Metric("number", "orders in the period", "customers with an order in the period"),
    "repurchase_rate": Metric("share", "customers with orders on two or more days of the period", "customers with an order in the period"),
    "average_order_value": Metric("money", "sales before returns in the period", "orders in the period, in that currency"),
    "return_rate": Metric("share", "value brought back in the period", "sales in the period"),
    "retention_rate": Metric("share", "customers with an order in the period before and in this one", "customers with an order in the period before (as long)"),
    "churn_rate": Metric("share", "customers with an order in the period before and none in this one", "customers with an order in the period before (as long)"),
    "referral_rate": Metric("share", "customers who referred a friend in the period", "customers with an order in the period"),
    "answered_on_time": Metric("share", "tickets opened in the period and closed within the deadline of the customer's tier", "tickets opened in the period that are closed or past their deadline"),
    "hours_to_close": Metric("hours", "hours from opening to closing of tickets opened in the period", "those of them that are closed"),
}  # fmt: skip
SURVEYS = {
    "nps": "per cent of answers of 9 and 10 less per cent below 7, of those who answered the question; −100 to 100, with its 95 % interval",
    "csat": "per cent of answers that are good, of all answers; with Wilson's 95 % interval",
    "rating": "per cent of star ratings of 4 and 5, of all ratings; with Wilson's 95 % interval",
}
