"""What Splink itself says of pairs under a trained model: what the product's own scorers are held to."""

import logging

import pyarrow as pa
from splink import DuckDBAPI, Linker

from identity import splink_settings
from identity.artefact import SHARES


def trained_settings(trained):
    """Splink's settings with the model's parameters in them."""
    made = splink_settings.settings(
        trained.comparisons, probability_two_random_records_match=trained.prior
    ).create_settings_dict("duckdb")
    for comparison in made["comparisons"]:
        wanted = iter(trained.parameters[comparison["output_column_name"]])
        for level in comparison["comparison_levels"]:
            if not level.get("is_null_level"):
                level["m_probability"], level["u_probability"] = next(wanted)
    return made


def weights(connection, trained, table, pairs):
    """(l, r) → Splink's match weight of the pairs in a table."""
    connection.execute(
        f"create or replace table splink_pairs as select '0' as match_key, l as join_key_l, r as join_key_r from {pairs}"
    )
    api = DuckDBAPI(connection)
    linker = Linker(api.register(table), trained_settings(trained), log_level=logging.ERROR)
    for column, shares in trained.term_frequencies.items():
        connection.register(
            "known_shares", pa.table({"value": list(shares), "share": list(shares.values())}, schema=SHARES)
        )
        connection.execute(
            f"create or replace table splink_tf_{column} as select v.{column}, coalesce(k.share, {trained.rarest!r}) as tf_{column} "
            f"from (select distinct {column} from {table} where {column} is not null) v left join known_shares k on k.value = v.{column}"
        )
        connection.unregister("known_shares")
        linker.table_management.register_term_frequency_lookup(api.register(f"splink_tf_{column}"), column)
    linker.table_management.register_blocked_pairs_for_predict(api.register("splink_pairs"))
    predicted = linker.inference.predict(threshold_match_weight=-1000, warning_mode="never").physical_name
    found = {
        (a, b): w for a, b, w in connection.execute(f"select node_l, node_r, match_weight from {predicted}").fetchall()
    }
    linker.table_management.delete_tables_created_by_splink_from_db()
    return found
