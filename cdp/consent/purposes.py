"""The purposes of the policy as a lake table."""

import polars as pl

from cdp.consent.policy import Policy
from cdp.lake import build
from cdp.lake.engine import Lake

TABLE = "core__purposes"


def build_purposes(lake: Lake, policy: Policy) -> build.Built:
    """`core__purposes(purpose, point, concept)`."""
    rows = [(name, purpose.point, purpose.concept) for name, purpose in sorted(policy.purposes.items())]
    mark = build.fingerprint(lake, (), rows)
    schema = dict.fromkeys(("purpose", "point", "concept"), pl.String)
    return build.build_table(lake, TABLE, mark, lambda: pl.DataFrame(rows, schema=schema, orient="row").to_arrow())
