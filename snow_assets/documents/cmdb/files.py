"""A graph as tables, as files, and as networkx knows graphs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.documents.cmdb.adjacency import Adjacency
from snow_assets.documents.cmdb.gathering import relations
from snow_assets.documents.cmdb.items import ATTRIBUTES, Items, or_null
from snow_assets.documents.cmdb.relations import GraphFigures
from snow_assets.errors import ConfigError
from snow_assets.extras import need

if TYPE_CHECKING:
    from networkx import MultiDiGraph

EDGES: Final = pa.schema(
    [
        (name, pa.string())
        for name in (
            "sys_id",
            "parent",
            "parent_name",
            "child",
            "child_name",
            "type",
            "label",
            "parent_descriptor",
            "child_descriptor",
        )
    ]
)
NODES: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("sys_id", "name", *ATTRIBUTES)),
        ("outbound", pa.int32()),
        ("inbound", pa.int32()),
    ]
)
_PORTION: Final = 50_000  # edges that are text at one time
_GROUP: Final = 100_000


def figures(graph: Adjacency) -> GraphFigures:
    """What a graph holds."""
    ends = {name: pc.equal(graph.open.column(name), "") for name in ("parent", "child")}
    edges = pa.table({name: graph.edges(name) for name in ("parent", "child", "type")})
    return GraphFigures(
        relations=edges.num_rows + graph.open.num_rows,
        nodes=len(graph.ids),
        edges=edges.num_rows,
        types=len(graph.types),
        duplicates=edges.num_rows - edges.group_by(edges.column_names).aggregate([]).num_rows,
        loops=_count(pc.equal(edges.column("parent"), edges.column("child"))),
        without_parent=_count(ends["parent"]),
        without_child=_count(ends["child"]),
        without_ends=_count(pc.and_(ends["parent"], ends["child"])),
    )


def _count(flags: Any) -> int:
    return pc.sum(flags).as_py() or 0


def edge_tables(graph: Adjacency) -> Iterator[pa.Table]:
    """Rows of ``EDGES`` in portions, at least one; those that lack an end are the last."""
    types = {
        "type": [each.sys_id for each in graph.types],
        "label": [each.label for each in graph.types],
        "parent_descriptor": [each.parent_descriptor for each in graph.types],
        "child_descriptor": [each.child_descriptor for each in graph.types],
    }
    texts = {name: pa.array(values, pa.string()) for name, values in types.items()}
    for start in range(0, len(graph.parent), _PORTION):
        numbers = {name: graph.edges(name).slice(start, _PORTION) for name in ("parent", "child", "type")}
        columns = {"sys_id": graph.sys_ids.slice(start, _PORTION)}
        for end in ("parent", "child"):
            columns |= {end: graph.ids.take(numbers[end]), f"{end}_name": graph.names.take(numbers[end])}
        yield _edges(columns, numbers["type"], texts)
    columns = {name: graph.open.column(name) for name in ("sys_id", "parent", "child")}
    for end in ("parent", "child"):
        columns[f"{end}_name"] = graph.names.take(pc.index_in(columns[end], value_set=graph.ids))
    yield _edges(columns, graph.open.column("type"), texts)


def _edges(columns: dict[str, Any], types: Any, texts: dict[str, pa.Array]) -> pa.Table:
    columns = columns | {name: text.take(types) for name, text in texts.items()}
    return pa.table([or_null(columns[name]) for name in EDGES.names], schema=EDGES)


def node_table(graph: Adjacency, items: Items | None) -> pa.Table:
    """Rows of ``NODES``."""
    known = {name: items.columns[name].cast(pa.string()) if items else pa.nulls(len(graph.ids)) for name in ATTRIBUTES}
    degrees = {"outbound": _steps(graph.down), "inbound": _steps(graph.up)}
    columns: dict[str, Any] = {"sys_id": graph.ids, "name": or_null(graph.names), **known, **degrees}
    return pa.table(columns).select(NODES.names).cast(NODES)


def _steps(offsets: Sequence[int]) -> pa.Array:
    there = pa.array(offsets, pa.int32())
    return pc.subtract(there.slice(1), there.slice(0, len(there) - 1))


def write_tables(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write a Parquet file, whole or not at all; returns its rows. Raises ``ConfigError`` for a folder that is not."""
    if not path.parent.is_dir():
        raise ConfigError("is not in a folder that exists", key="path", value=path, hint=f"mkdir -p {path.parent}")
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        rows = fill(scratch, schema, tables)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return rows


def fill(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> int:
    """Write tables to a Parquet file; returns their rows."""
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=_GROUP)
            rows += table.num_rows
    return rows


def read_edges(path: Path) -> pa.Table:
    """The rows of a file of edges, as gathered. Raises ``ConfigError``."""
    gathering = relations()
    with _opened(path, EDGES) as file:
        for batch in file.iter_batches(batch_size=_PORTION, columns=gathering.schema.names):
            gathering.add_text(pa.Table.from_batches([batch]))
    return gathering.rows()


def read_nodes(path: Path, ids: pa.StringArray) -> Items:
    """What a file of nodes tells of these CIs. Raises ``ConfigError``."""
    with _opened(path, NODES) as file:
        table = file.read(columns=["sys_id", *ATTRIBUTES])
    return Items(table, ids)


def _opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError("is no Parquet file that can be read", key="path", value=path) from error
    missing = [name for name in schema.names if name not in file.schema_arrow.names]
    if missing:
        file.close()
        hint = f"it lacks {', '.join(missing)}"
        raise ConfigError("was not written by RelationGraph.to_parquet", key="path", value=path, hint=hint)
    return file


def networkx_of(graph: Adjacency, items: Items | None) -> MultiDiGraph[str]:
    """From parent to child, keyed by the relation's sys_id."""
    networkx = need("networkx", "graph")
    made: MultiDiGraph[str] = networkx.MultiDiGraph()
    for node, (sys_id, name) in enumerate(zip(graph.ids.to_pylist(), graph.names.to_pylist(), strict=True)):
        made.add_node(sys_id, name=name, **(items.known(node) if items else {}))
    for table in edge_tables(graph):
        for row in table.to_pylist():
            if row["parent"] is not None and row["child"] is not None:
                told = {name: row[name] or "" for name in EDGES.names[5:]}
                made.add_edge(row["parent"], row["child"], key=row["sys_id"], **told)
    return made
