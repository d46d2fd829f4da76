"""`cdp resolve`: who is who in one file, without a workspace."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cdp.cli.main import app
from cdp.cli.output import say
from cdp.errors import ConfigError
from cdp.settings import Settings


@app.command()
def resolve(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="CSV or Parquet of people, a row a record.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the answer (.csv or .parquet).")],
    id: Annotated[
        str | None, typer.Option(help="Column that identifies a row; the usual name for one, else the row number.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="YAML: field: COLUMN (given_name, family_name, birth_date, …).")
    ] = None,
    truth: Annotated[
        str | None, typer.Option(help="Column with the true person: never read, only compared with.")
    ] = None,
) -> None:
    """Find the records of one person in any file: no workspace, no labels, no configuration where names are usual.

    Writes record_id, customer_id and the file's own columns; a quality report goes to the terminal.

    Examples:

        cdp resolve people.csv --out resolved.csv

        cdp resolve people.parquet --out resolved.parquet --id unique_id --truth cluster

        cdp resolve export.csv --out resolved.csv --mapping columns.yaml
    """
    import polars as pl

    from cdp.identity_rules import shipped_rules
    from cdp.scores import score
    from cdp.yamlfile import load_yaml
    from identity.files import report
    from identity.files.mapping import Mapping
    from identity.files.read import texts
    from identity.files.resolve import resolve as link

    settings = Settings()
    started = time.monotonic()
    if out.suffix not in {".csv", ".parquet"}:
        raise ConfigError(f"{out} is neither .csv nor .parquet", "give --out a name that ends in one of them")
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} does not exist", "make it, or choose another --out")
    if out.is_dir() or (out.exists() and out.samefile(file)):
        raise ConfigError(f"{out} is {'a folder' if out.is_dir() else 'the file that is read'}", "choose another --out")
    done = link(
        file,
        shipped_rules(),
        regions=tuple(settings.phone_regions.split(",")),
        id_column=id,
        chosen=load_yaml(mapping, Mapping) if mapping else None,
        truth=truth,
        threads=settings.threads,
        memory_limit=settings.memory_limit if "memory_limit" in settings.model_fields_set else "4GB",
        log=lambda text: say(f"{time.monotonic() - started:6.1f} s  {text}"),
    )
    if out.suffix == ".parquet":
        done.frame.write_parquet(out)
    else:
        texts(done.frame).write_csv(out)
    print(report.text(done))
    if done.truth is not None:
        pairs = pl.DataFrame([done.frame["record_id"], done.truth]).drop_nulls().iter_rows()
        predicted = dict(done.frame.select("record_id", "customer_id").iter_rows())
        print(report.against(score(predicted, pairs)))
    say(f"{time.monotonic() - started:6.1f} s  written to {out}")
