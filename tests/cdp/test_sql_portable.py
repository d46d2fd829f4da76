"""The SQL stays within what Spark reads alike: that engine comes later, and the seam stays open.

Left out: `publish`, which shapes JSON for PostgreSQL and would not move to another engine.
"""

import pytest
import sqlglot
from sqlglot import exp

from cdp.lake.build import sql_file, sql_tables
from cdp.settings import Settings
from cdp.sources.canonical import canonical_selects
from cdp.sources.load import load_sources
from cdp.workspace import Workspace

STAGES = ("standardise", "identity", "profile", "loyalty", "insight", "review")
# Functions that were compared on both engines or are plain SQL; what is not here has to be looked at first.
ALLOWED = {
    "Abs", "Anonymous", "And", "Or", "Not", "Case", "If", "Coalesce", "Count", "Min", "Max", "Sum", "RowNumber", "FirstValue", "MD5",
    "ConcatWs", "Concat", "Lower", "Upper", "Nullif", "RegexpReplace", "RegexpLike", "SplitPart", "Cast", "TryCast", "Month", "Day",
    "DateDiff", "Ntile", "Lag", "Lead", "Avg", "Floor", "Ceil", "Sqrt", "Pow", "StddevSamp", "Hour", "AtTimeZone", "JSONExtractScalar", "Least", "Greatest", "Substring", "Length", "GroupConcat", "LogicalOr", "LogicalAnd", "ParseJSON", "JSONFormat", "Struct", "Exists", "Contains", "Explode", "Unnest",
}  # fmt: skip
ALLOWED_BY_NAME = {"to_json", "contains", "unnest"}
REFUSED = (exp.Pivot, exp.Slice, exp.Lambda, exp.List)


def selects():
    absent = Workspace(Settings(home="/nonexistent"))
    yield from ((s.table, s.sql) for s in canonical_selects(load_sources(absent)))
    for stage in STAGES:
        yield from ((table, sql_file(stage, table).sql) for table in sql_tables(stage))


@pytest.mark.parametrize(("table", "query"), list(selects()), ids=lambda value: value if value.isidentifier() else "")
def test_every_select_is_readable_by_spark_and_uses_only_functions_that_mean_the_same(table, query):
    tree = sqlglot.parse_one(query, dialect="duckdb")
    sqlglot.transpile(query, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    assert not list(tree.find_all(*REFUSED))
    for call in tree.find_all(exp.Func):
        if isinstance(call, exp.Anonymous):
            assert call.name.lower() in ALLOWED_BY_NAME, call.sql()
        else:
            assert type(call).__name__ in ALLOWED, call.sql()
    for apart in tree.find_all(exp.DateDiff):
        assert apart.args["unit"].name.lower() in ("day", "second"), "of others DuckDB counts the limits passed, Spark what is whole"
    for replaced in tree.find_all(exp.RegexpReplace):
        assert "'g'" in replaced.sql(dialect="duckdb"), "without 'g' DuckDB replaces once, Spark everywhere"
    for ranked in tree.find_all(exp.Qualify):
        assert ranked.find(exp.Order), "a rank without an order differs from run to run"
