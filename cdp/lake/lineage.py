"""Which input columns each output column of a select comes from, found by sqlglot."""

from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from cdp.lake.build import DIALECT, find_inputs
from cdp.lake.engine import Lake

Lineage = dict[str, tuple[tuple[str, str], ...]]


def column_lineage(lake: Lake, query: str) -> Lineage:
    """Output column → (input table, input column) pairs; a column computed from nothing has none."""
    schema = tuple((table, tuple(lake.columns(table))) for table in find_inputs(query))
    return _lineage(query, schema)


@cache
def _lineage(query: str, schema: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]) -> Lineage:
    types = {table: dict(columns) for table, columns in schema}
    try:
        tree = qualify(sqlglot.parse_one(query, dialect=DIALECT), schema=types, dialect=DIALECT, validate_qualify_columns=False)
        scope = build_scope(tree)
        names = tree.named_selects if isinstance(tree, exp.Query) else []
        found: Lineage = {}
        for name in names:
            node = lineage(name, tree, schema=types, dialect=DIALECT, scope=scope, copy=False)
            leaves = {
                (leaf.source.name, leaf.name.split(".")[-1].strip('"'))
                for leaf in node.walk()
                if isinstance(leaf.source, exp.Table) and leaf.source.name in types
            }
            found[name] = tuple(sorted(pair for pair in leaves if pair[1] in types[pair[0]]))
        return found
    except sqlglot.errors.SqlglotError:
        return {}  # lineage decorates the graph; a select that it cannot follow is still right
