"""Which input columns each output column of a select comes from, found by sqlglot."""

import sqlglot
from sqlglot import exp
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

DIALECT = "duckdb"
TRACING = f"lineage 1, sqlglot {sqlglot.__version__}"  # type: ignore[attr-defined] # not exported by name; what another finds may differ


def column_lineage(query: str, inputs: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Output column → (input table, input column) pairs; a column computed from nothing has none.

    Args:
        query: One select.
        inputs: Name and type of each column of the tables it reads.
    """
    types: dict[str, object] = {table: dict(columns) for table, columns in inputs.items()}
    try:
        tree = qualify(
            sqlglot.parse_one(query, dialect=DIALECT),
            schema=types,
            dialect=DIALECT,
            validate_qualify_columns=False,
        )
        scope = build_scope(tree)
        # all columns in one go share what is found; trimming would copy the whole select for each column
        nodes = lineage(None, tree, schema=types, dialect=DIALECT, scope=scope, copy=False, trim_selects=False)
        found = {}
        for name, node in nodes.items():
            leaves = {
                (leaf.source.name, leaf.name.split(".")[-1].strip('"'))
                for leaf in node.walk()
                if isinstance(leaf.source, exp.Table) and leaf.source.name in types
            }
            found[name] = sorted(pair for pair in leaves if pair[1] in dict(inputs[pair[0]]))
        return found
    except sqlglot.errors.SqlglotError:
        return {}  # lineage decorates the graph; a select that it cannot follow is still right
