"""Probabilistic evidence: score candidate pairs of payloads with the trained model, keep what clears the threshold."""

import json
import logging
from typing import Any

import polars as pl
from splink import DuckDBAPI, Linker

from cdp.identity_rules import IdentityRules
from cdp.lake import build
from cdp.lake.engine import Lake
from identity import names
from identity.train import Model, quiet

TABLE = "core__probabilistic_edges"
SCHEMA = {
    "left_id": pl.String, "right_id": pl.String, "type": pl.String, "kind": pl.String, "weight": pl.Float64,
    "model_version": pl.String, "evidence": pl.String,
}  # fmt: skip
INPUT = """
    with distinct_payloads as (
        select payload_id, given_key, family_key, birth_date, email, email_local, phone, postal_code, city,
            min(record_id) as first_record, count(*) as records
        from core__payloads group by all
    )
    select payload_id || copy as payload_id, given_key, family_key, birth_date, email, email_local, phone, postal_code, city
    from distinct_payloads cross join (values (''), ('#2')) as copies(copy)
    where copy = '' or records > 1
"""  # a payload that several records share stands twice, so that its weight against itself is scored too


def create_input(lake: Lake) -> str:
    """The table of payloads that Splink reads, in memory."""
    lake.rows(f"create or replace table memory.main.link_input as {INPUT} order by payload_id")
    return "link_input"


def build_edges(lake: Lake, trained: Model | None, rules: IdentityRules) -> build.Built:
    """Score all candidate pairs and keep those of one person."""
    version = trained.version if trained else "none"
    mark = build.fingerprint(lake, ("core__payloads",), version, rules.match_weight, "link 1")
    return build.build_table(lake, TABLE, mark, lambda: _edges(lake, trained, rules).to_arrow())


def _edges(lake: Lake, trained: Model | None, rules: IdentityRules) -> pl.DataFrame:
    if trained is None:
        return pl.DataFrame(schema=SCHEMA)
    scored = _score(lake, trained, rules.match_weight)
    sound = [row for row in scored if names.compatible(row["given_l"], row["given_r"])]
    rows = [
        (
            row["left_id"],
            row["right_id"],
            "similar",
            "probabilistic",
            row["match_weight"],
            trained.version,
            _evidence(row),
        )
        for row in sound
        if row["left_id"] != row["right_id"]
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").unique(
        ["left_id", "right_id"], keep="first", maintain_order=True
    )


def _score(lake: Lake, trained: Model, threshold: float) -> list[dict[str, Any]]:
    table = create_input(lake)
    api = DuckDBAPI(lake.connection)
    with quiet():
        linker = Linker(api.register(table), trained.settings, log_level=logging.ERROR)
        for column, rows in trained.term_frequencies.items():
            frame = pl.DataFrame(rows, schema={column: pl.String, f"tf_{column}": pl.Float64}, orient="row")
            lake.connection.register(f"tf_view_{column}", frame.to_arrow())
            lake.rows(f"create or replace table memory.main.tf_input_{column} as from tf_view_{column}")
            linker.table_management.register_term_frequency_lookup(api.register(f"tf_input_{column}"), column)
        predicted = linker.inference.predict(threshold_match_weight=threshold)
        weights = ", ".join(
            f"round(mw_{name}, 3) as mw_{name}"
            for name in ("given_key", "family_key", "birth_date", "email", "phone", "postal_code")
        )
        found = lake.records(
            f"""
            with members as (
                select payload_id, record_id, given_key, min(record_id) over (partition by payload_id) as first_record
                from core__payloads
            ), firsts as (
                select distinct payload_id, given_key, first_record from members
            ), pairs as (
                select split_part(payload_id_l, '#', 1) as l, split_part(payload_id_r, '#', 1) as r, match_weight, {weights}
                from {predicted.physical_name}
            ), between as (
                select least(a.first_record, b.first_record) as left_id, greatest(a.first_record, b.first_record) as right_id,
                    a.given_key as given_l, b.given_key as given_r, pairs.* exclude (l, r)
                from pairs join firsts a on a.payload_id = l join firsts b on b.payload_id = r where l <> r
            ), within as (
                select m.first_record as left_id, m.record_id as right_id, m.given_key as given_l, m.given_key as given_r,
                    pairs.* exclude (l, r)
                from pairs join members m on m.payload_id = l where l = r and m.record_id <> m.first_record
            )
            select * replace (round(match_weight, 6) as match_weight)
            from (select * from between union all select * from within)
            order by left_id, right_id, match_weight desc
            """  # noqa: S608 - the only interpolated names are Splink's table and our columns
        )
        linker.table_management.delete_tables_created_by_splink_from_db()
    return found


def _evidence(row: dict[str, Any]) -> str:
    return json.dumps(
        {name.removeprefix("mw_"): value for name, value in row.items() if name.startswith("mw_") and value}
    )
