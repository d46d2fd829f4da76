"""A fifth source added by YAML alone, real data, counts known beforehand."""

import pytest

from cdp.lake.engine import open_lake
from cdp.store.connect import connect, owner_address
from tests.conftest import cdp

pytestmark = pytest.mark.long


def test_online_retail_as_a_fifth_source(new_workspace, reference):
    workspace = new_workspace()
    file = reference / "online_retail.parquet"
    drafted = cdp(workspace, "source", "add", str(file))
    assert "0 break the contract" in drafted.stderr
    workspace.path("landing", "online_retail", file.name).write_bytes(file.read_bytes())
    cdp(workspace, "run", "--as-of", RETAIL_END)
    with open_lake(workspace, read_only=True) as lake:
        counts = lake.rows(
            "select lines, accepted, duplicates, quarantined from ops__reconciliation where source = 'online_retail'"
        )
        rows = lake.scalar("select count(*) from raw_online_retail__rows")
        distinct = lake.scalar(
            "select count(*) from (select distinct invoice_no, stock_code, description, quantity, invoice_date, unit_price, customer_id, country from raw_online_retail__rows)"
        )
        orders = lake.rows("select count(*), count(record_id) from core__orders")
        customers = lake.scalar("select count(*) from core__customers where kind = 'known'")
    assert counts == [(541_909, 541_909, 0, 0)]
    assert rows == 541_909
    assert rows - distinct == 5_268
    assert orders == [(25_900, 22_190)]
    assert customers == 4_372
    with connect(owner_address(workspace)) as store:
        assert store.execute("select count(*) from orders").fetchall() == [(25_900,)]


RETAIL_END = "2011-12-10"
