"""The graph of a pull of ``cmdb_rel_ci`` as files: its edges, its CIs, and a manifest with its figures.

Below ``<data>/<pull>.graph``: ``<export>.edges.parquet``, ``<export>.nodes.parquet``, and ``graph.json``, which is
replaced last and names only what is whole. An export is named by the plan of its relations; a second one of the same
plan, with newer CIs, ``<plan>-2``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from snow_assets.documents.cmdb import files
from snow_assets.documents.cmdb.graph import RelationGraph
from snow_assets.documents.cmdb.items import must_be_cis
from snow_assets.documents.cmdb.relations import GraphFigures
from snow_assets.errors import ConfigError, PlanIncomplete
from snow_assets.pulls.exports import ExportFile, Parts, Written, are_there, prune, read_manifest, write_manifest
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.live import Live, live_rows
from snow_assets.reader import data_of

MANIFEST: Final = "graph.json"


@dataclass(frozen=True, slots=True)
class GraphExport:
    """An export, as its manifest tells.

    ``cis`` names the pull that classes and states are from, and ``cis_plan`` its plan: ``""`` where there is none, or
    nothing of it was published. ``known_cis``: CIs of the graph that it has. ``components``: parts that no relation
    joins; ``largest``: CIs of the largest; ``cyclic``: CIs from which a way down leads back to them. ``changed`` tells
    whether this call wrote it.
    """

    pull: str
    export: str
    plan: str
    as_of: str
    query: str
    cis: str
    cis_plan: str
    figures: GraphFigures
    known_cis: int
    components: int
    largest: int
    cyclic: int
    made: str
    files: tuple[ExportFile, ...]
    changed: bool = False


def home_of(landing: Landing) -> Landing:
    """Where the graphs of a pull lie; a lease of it is the exports' own."""
    return Landing(landing.pull, landing.beside("graph"))


def read_graph(landing: Landing) -> GraphExport | None:
    """The newest export, or ``None``. Raises ``LandingError`` where the manifest is damaged."""
    return read_manifest(home_of(landing).store, MANIFEST, GraphExport)


def export_graph(landing: Landing, *, cis: str | None = None, again: bool = False) -> GraphExport:
    """Export the graph of what is published now; what was exported before, and is there, is returned as it is.

    ``cis`` names a pull of CIs beside it. A file that a dead run finished is adopted by its hash; ``again`` writes
    each anew. The graph is in memory meanwhile. Whoever calls this holds the lease of ``home_of(landing)``.

    Raises ``ConfigError`` where nothing is published, it is not of ``cmdb_rel_ci``, or ``cis`` lands nothing of CIs,
    ``PlanIncomplete`` where its relations are not those that were published, and ``LandingError`` for the disk.
    """
    live = live_rows(landing)
    items = published_cis(landing, cis)
    cis_plan = items.plan if items else ""
    store = home_of(landing).store
    known = read_graph(landing)
    same = known is not None and (known.plan, known.cis, known.cis_plan) == (live.plan, cis or "", cis_plan)
    if known is not None and same and not again and are_there(store, known.files):
        return known
    graph = RelationGraph.of_live(landing, live, items)
    store.check_writable()
    store.remove_scratch()
    name = known.export if known is not None and same else _next_name(known, live.plan)
    parts = Parts(store, name, inputs=f"{cis} {cis_plan}", again=again)
    edges = parts.part("edges.parquet", partial(_write, files.EDGES, files.edge_tables(graph.adjacency)))
    nodes = parts.part("nodes.parquet", partial(_write, files.NODES, [graph.nodes()]))
    _must_be_valid(live, graph, edges, nodes)
    shape = graph.shape()
    plan = landing.read_plan(live.plan)
    export = GraphExport(
        pull=live.pull,
        export=name,
        plan=live.plan,
        as_of=plan.as_of.isoformat(),
        query=plan.base_query,
        cis=cis or "",
        cis_plan=cis_plan,
        figures=graph.figures,
        known_cis=graph.known_cis,
        components=shape.components,
        largest=shape.largest,
        cyclic=shape.cyclic,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files=(edges, nodes),
    )
    content = {name: value for name, value in asdict(export).items() if name != "changed"}
    write_manifest(store, MANIFEST, content)
    prune(store, {export.export, known.export} if known else {export.export})
    return replace(export, changed=True)


def published_cis(landing: Landing, cis: str | None) -> Live | None:
    """What the pull of CIs beside ``landing`` has published, if anything. Raises ``ConfigError`` where it is no CIs."""
    if cis is None:
        return None
    try:
        live = live_rows(Landing.open(data_of(landing), cis))
    except ConfigError:
        return None
    return must_be_cis(live)


def _next_name(known: GraphExport | None, plan: str) -> str:
    if known is None or known.plan != plan:
        return plan
    return f"{plan}-{int(known.export.removeprefix(plan).removeprefix('-') or 1) + 1}"


def _write(schema: pa.Schema, tables: Iterable[pa.Table], target: Path) -> Written:
    return Written(files.fill(target, schema, tables))


def _must_be_valid(live: Live, graph: RelationGraph, edges: ExportFile, nodes: ExportFile) -> None:
    """Each published row is an edge, or lacks an end; each CI is there."""
    relations = graph.figures.relations
    found = [
        f"{what} {there:,}, {wanted:,} are {why}"
        for what, there, wanted, why in (
            ("relations:", relations, live.rows, "published"),
            (f"rows of {edges.name}:", edges.rows, relations, "relations"),
            (f"rows of {nodes.name}:", nodes.rows, len(graph), "CIs"),
        )
        if there != wanted
    ]
    if found:
        raise PlanIncomplete(
            f"the graph is not written: {'; '.join(found)}",
            key="graph",
            value=live.pull,
            hint=f"export it again: snow-assets graph {live.pull} --again",
        )
