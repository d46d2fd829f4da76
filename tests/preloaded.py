"""Imports what any command may need: the process that `tests.typed` forks has this behind it."""

import pkgutil
from importlib import import_module

LATER = (
    "scipy.special",
    "sklearn.cluster",
    "sklearn.ensemble",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "scipy.optimize",
    "vl_convert",
    "splink",
    "typer",
)  # imported only where they are needed

for room in ("cdp", "identity", "assets"):
    for module in pkgutil.walk_packages(import_module(room).__path__, f"{room}."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            import_module(module.name)
for name in LATER:
    import_module(name)

from cdp.lake.build import find_inputs, sql_file, sql_tables  # noqa: E402 - of what is imported above

for stage in ("standardise", "identity", "profile", "loyalty", "insight", "publish"):
    for table in sql_tables(stage):
        find_inputs(sql_file(stage, table).sql)  # kept: parsed once, not at every command
