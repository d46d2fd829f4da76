"""Components of the evidence graph: records that any chain of edges joins are one customer.

Within a cluster, `link_weight` says how strongly a record hangs on its core, the largest part that strong links
alone hold together: consent lets denials cross a weak link, never grants.
"""

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cdp.lake import build
from cdp.lake.engine import Lake

TABLE = "core__clusters"


STRONGEST = 99.0  # the link weight of a core's own records
WRITTEN = {"record_id": pl.String, "cluster_id": pl.String, "link_weight": pl.Float64}


def build_clusters(lake: Lake, weak_link_weight: float) -> build.Built:
    """`core__clusters(record_id, cluster_id, link_weight)`; a cluster is named after its smallest record."""
    mark = build.fingerprint(lake, ("core__contact_records", "core__edges"), weak_link_weight, "components 2")
    return build.build_table(lake, TABLE, mark, lambda: _clusters(lake, weak_link_weight).to_arrow())


def _clusters(lake: Lake, weak: float) -> pl.DataFrame:
    records = [row[0] for row in lake.rows("select record_id from core__contact_records order by 1")]
    edges = lake.rows("select left_id, right_id, weight from core__edges")
    return clusters(records, edges, weak)


def clusters(records: list[str], edges: list[tuple[str, str, float]], weak: float) -> pl.DataFrame:
    """Cluster sorted record ids by weighted edges.

    Returns:
        One row a record: `record_id`, `cluster_id`, `link_weight` (the strongest edge that joins its part to
        the rest of the cluster, `STRONGEST` for the core).
    """
    if not records:
        return pl.DataFrame(schema=WRITTEN)
    frame = pl.DataFrame({"record_id": records}, schema={"record_id": pl.String}).with_row_index("at")
    links = pl.DataFrame(edges, schema={"l": pl.String, "r": pl.String, "weight": pl.Float64}, orient="row")
    links = links.join(frame.rename({"record_id": "l"}), on="l").join(
        frame.rename({"record_id": "r"}), on="r", suffix="_r"
    )
    strong = links.filter(pl.col("weight") >= weak)
    frame = frame.with_columns(cluster=_labels(len(records), links), part=_labels(len(records), strong))
    frame = frame.with_columns(cluster_id=pl.col("record_id").min().over("cluster"), size=pl.len().over("part"))
    core = (
        frame.sort(["size", "part"], descending=[True, False])
        .group_by("cluster")
        .agg(pl.col("part").first().alias("core"))
    )
    crossing = links.join(frame.select("at", "part"), on="at").join(
        frame.select(pl.col("at").alias("at_r"), pl.col("part").alias("part_r")), on="at_r"
    )
    crossing = crossing.filter(pl.col("part") != pl.col("part_r"))
    ends = pl.concat([crossing.select("part", "weight"), crossing.select(pl.col("part_r").alias("part"), "weight")])
    outward = ends.group_by("part").agg(pl.col("weight").max().alias("outward"))
    joined = frame.join(core, on="cluster").join(outward, on="part", how="left")
    weight = pl.when(pl.col("part") == pl.col("core")).then(STRONGEST).otherwise(pl.col("outward"))
    return joined.with_columns(link_weight=weight).sort("record_id").select(*WRITTEN)


def _labels(size: int, links: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    left, right = links["at"].to_numpy(), links["at_r"].to_numpy()
    graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
    labels: np.ndarray[tuple[int], np.dtype[np.int32]] = connected_components(graph, directed=False)[1]
    return labels
