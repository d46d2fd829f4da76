"""What the first run over a new workspace leaves in the lake."""

from cdp.lake import register
from cdp.lake.engine import open_lake
from cdp.lake.fill import has_its_turn
from cdp.lake.tables import shapes


def test_tables_that_were_made_with_the_lake_are_filled_not_replaced(town):
    """Each that is replaced has the schema read again; a few are by nature, and one in twenty has its turn."""
    with open_lake(town, read_only=True) as lake:
        ids = dict(lake.rows("select table_name, table_id from ducklake_table_info('lake')"))
        runs = dict(lake.rows(f"select table_name, run_id from ops__builds {register.NEWEST}"))
        first_landed = min(number for table, number in ids.items() if table.startswith("raw_"))
        stays = [table for table in shapes() if not has_its_turn(runs[table], table)]
        replaced = [table for table in stays if ids[table] > first_landed]
        assert len(replaced) <= 0.12 * len(stays), replaced
        assert all(register.recorded(lake, table) for table in shapes()), "and every table is built"
