"""`cdp model`: train, look at, compare and promote what tells people apart."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say, table
from cdp.clock import system_now
from cdp.errors import CdpError, ConfigError
from cdp.settings import Settings
from cdp.store.connect import connect, database, owner_address
from cdp.workspace import Workspace, open_workspace

model = typer.Typer(help="Identity models: train, list, compare, promote.", no_args_is_help=True)
app.add_typer(model, name="model")


@model.command()
def train() -> None:
    """Train a model on what the lake holds now. It is kept, not used: compare it, then promote it.

    Example: cdp model train
    """
    from cdp.identity_rules import load_identity_rules
    from cdp.lake.engine import open_lake
    from identity import artefact, lifecycle

    workspace = open_workspace(Settings())
    with (
        database(workspace),
        open_lake(workspace) as lake,
    ):  # a reader's engine is locked: it could not train on one thread
        trained = lifecycle.train_on(lake, load_identity_rules(workspace))
    if trained is None:
        raise CdpError(
            "there is too little to learn from", "run the pipeline over at least a hundred people with full names"
        )
    artefact.save(trained, workspace.path("models"))
    say(f"learnt from {trained.facts['records']:,} payloads; try: cdp model compare {trained.version}")
    print(trained.version)


@model.command("list")
def list_models() -> None:
    """List the models with what is known of their quality; labels are stewards' decisions."""
    from identity import artefact, labels

    workspace = open_workspace(Settings())
    folder = workspace.path("models")
    used = artefact.current(folder)
    rows: list[tuple[object, ...]] = []
    with database(workspace), connect(owner_address(workspace)) as store:
        for version in artefact.versions(folder):
            mark = "in use" if version == used else ""
            try:
                found = artefact.load(folder, version)
            except ConfigError:  # of another version of the program: it is there, and can be read by none of this
                rows.append((version, mark, "", "", "", "", "train again"))
                continue
            if found is not None:
                measured = labels.measure(store, found)
                right = f"{measured.agreeing} of {measured.labels}" if measured.labels else ""
                facts = found.facts
                rows.append((version, mark, facts["records"], round(found.threshold, 4),
                             facts["expected_precision"], facts["expected_recall_of_candidates"], right))  # fmt: skip
    headers = ["version", "", "payloads", "threshold", "expected precision", "of candidate matches", "labels agreed"]
    print(table(headers, rows) if rows else "no model yet: 'cdp run' trains the first")


@model.command()
def compare(
    version: Annotated[str, typer.Argument(help="The model to try; the one in use by default.")] = "",
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Another identity.yaml to try.")
    ] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """What another model, or other rules, would do to the customers there are. Nothing is written.

    Examples: cdp model compare 3f0c9e1f4f0b · cdp model compare --rules new-identity.yaml
    """
    from cdp.identity_rules import IdentityRules, load_identity_rules
    from cdp.lake.engine import open_lake
    from cdp.store import releases
    from cdp.yamlfile import load_yaml
    from identity import artefact, whatif

    workspace = open_workspace(Settings())
    if not version and rules is None:
        raise ConfigError("nothing to compare", "name a model version or --rules FILE")
    trained = artefact.load(workspace.path("models"), version or None)
    chosen = load_yaml(rules, IdentityRules) if rules else load_identity_rules(workspace)
    with database(workspace), connect(owner_address(workspace)) as store, open_lake(workspace, read_only=True) as lake:
        made = releases.newest(store)
        now = made[0].as_of if made else system_now()
        found = whatif.compare(lake, trained, chosen, now, other_rules=rules is not None)
    if json_out:
        print(json.dumps(asdict(found)))
        return
    print(table(["what changes", ""], found.rows()))
    for kind, customers in found.examples.items():
        if customers:
            print(f"{kind}, to look at: {', '.join(customers)}")


@model.command()
def promote(version: str) -> None:
    """Use this model from the next run on. Ids stay with the customers whose records stay together.

    Example: cdp model promote 3f0c9e1f4f0b
    """
    from identity import artefact

    workspace: Workspace = open_workspace(Settings())
    found = artefact.load(workspace.path("models"), version)
    if found is None:
        raise ConfigError(f"there is no model {version}", "'cdp model list' shows those there are")
    artefact.promote(workspace.path("models"), found.version)
    say(f"model {found.version} is in use from the next run on ('cdp run')")


@model.command("roll-back")
def roll_back() -> None:
    """Use the model that was in use before this one, from the next run on.

    Example: cdp model roll-back
    """
    from identity import artefact

    version = artefact.roll_back(open_workspace(Settings()).path("models"))
    say(f"model {version} is in use again from the next run on ('cdp run')")
