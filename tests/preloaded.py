"""Imports what any command may need: the process that `tests.typed` forks has this behind it."""

import pkgutil
from importlib import import_module

LATER = ("scipy.special", "sklearn.linear_model", "vl_convert", "splink", "typer")  # imported only where they are needed

for room in ("cdp", "identity", "assets"):
    for module in pkgutil.walk_packages(import_module(room).__path__, f"{room}."):
        if not module.name.endswith("__main__") and ".migrations." not in module.name:
            import_module(module.name)
for name in LATER:
    import_module(name)
