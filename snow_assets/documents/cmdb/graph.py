"""Configuration items and their relations in memory, from one reading of ``cmdb_rel_ci``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.config import Environment
from snow_assets.documents.cmdb import files
from snow_assets.documents.cmdb.adjacency import Adjacency, built
from snow_assets.documents.cmdb.gathering import FIELDS, TABLE, Record, relations
from snow_assets.documents.cmdb.items import Items, aitems_of, items_of, must_be_cis, published_items
from snow_assets.documents.cmdb.relations import GraphFigures, Relation, RelationsOf, RelationType, Step
from snow_assets.documents.cmdb.shape import Shape, shape_of
from snow_assets.documents.cmdb.traversal import DIRECTIONS, Direction, chosen, neighbours, reached
from snow_assets.errors import ConfigError
from snow_assets.pulls import Landing
from snow_assets.pulls.live import Live, live_rows

if TYPE_CHECKING:
    from networkx import MultiDiGraph

    from snow_assets.servicenow.aio import AsyncClient
    from snow_assets.servicenow.client import Client
    from snow_assets.servicenow.records import Report

CIs: TypeAlias = Iterable[Record]


class RelationGraph:
    """Which CI is related to which, and how. Made by ``read``, ``aread`` or a method ``from_...``.

    ::

        with Client("https://acme.service-now.com", username="u", password="p") as client:
            graph = RelationGraph.read(client)
        for step in graph.traverse(sys_id, direction="up", depth=3, types="Depends on"):
            print(step.depth, step.name, step.descriptor)

    All of it is in memory and nothing is asked of the instance any more: it answers in any thread, and in coroutines.
    A CI that no relation names is not in it, which is no error. Rows of ``cmdb_rel_ci`` that repeat another's ends and
    type are edges of their own; traversals and ``relations_of`` see the one with the lowest sys_id. Rows that lack an
    end, or whose end is hidden from the account, are counted in ``figures`` and lead nowhere.
    """

    def __init__(self, adjacency: Adjacency, report: Report | None = None, items: Items | None = None) -> None:
        self._graph = adjacency
        self._items = items
        self.report = report
        """How complete the reading was; ``None`` for a graph of published rows or of a file."""

    @classmethod
    def read(cls, client: Client, *, query: str = "", concurrent: bool = True, cis: CIs | None = None) -> Self:
        """Read ``cmdb_rel_ci`` once, completely; never a request per CI.

        Args:
            client: of the instance.
            query: encoded query of ``cmdb_rel_ci``; all of it when left out.
            concurrent: on the client's threads, or one page after the other.
            cis: records of CIs, to give classes and states: see ``with_cis``.

        Raises ``SnowError`` where the reading cannot be proven complete.
        """
        method = client.concurrent_get_records if concurrent else client.get_records
        with method(TABLE, query, FIELDS, "all") as records:
            graph = cls.from_records(records, cis=cis)
        graph.report = records.report
        return graph

    @classmethod
    async def aread(
        cls, client: AsyncClient, *, query: str = "", cis: CIs | AsyncIterable[Record] | None = None
    ) -> Self:
        """``read``, with an ``AsyncClient``; the graph is the same. ``cis`` may be an asynchronous iterator, too."""
        gathering = relations()
        async with client.aconcurrent_get_records(TABLE, query, FIELDS, "all") as records:
            async for record in records:
                gathering.add(record)
        adjacency = await asyncio.to_thread(lambda: built(gathering.rows()))
        graph = cls(adjacency, records.report)
        if isinstance(cis, AsyncIterable):
            return graph._with(await aitems_of(cis))
        return graph if cis is None else await asyncio.to_thread(graph.with_cis, cis)

    @classmethod
    def from_records(cls, records: Iterable[Record], *, cis: CIs | None = None) -> Self:
        """The graph of records of ``cmdb_rel_ci`` with ``sys_id``, ``parent``, ``child`` and ``type``.

        They must have been read with ``display_value="all"``, or ``"false"``: then nothing has a name.
        """
        gathering = relations()
        for record in records:
            gathering.add(record)
        graph = cls(built(gathering.rows()))
        return graph if cis is None else graph.with_cis(cis)

    @classmethod
    def from_published(cls, pull: str, data: str | None = None, *, cis: str | CIs | None = None) -> Self:
        """The graph of what a pull of ``cmdb_rel_ci`` has published.

        Args:
            pull: its name. It must land ``parent``, ``child`` and ``type``, with their stored values.
            data: folder or URL of the landings; ``SNOW_DATA_DIR`` (``data``) when left out.
            cis: the name of a published pull of CIs, or records: see ``with_cis``.

        Raises ``ConfigError`` where nothing is published, or it is something else than relations.
        """
        data = data or Environment.load().data_dir
        landing = Landing.open(data, pull)
        live = live_rows(landing)
        if isinstance(cis, str):
            return cls.of_live(landing, live, live_rows(Landing.open(data, cis)))
        graph = cls.of_live(landing, live)
        return graph if cis is None else graph.with_cis(cis)

    @classmethod
    def of_live(cls, landing: Landing, live: Live, cis: Live | None = None) -> Self:
        """The graph of these published rows of a landing, and of none that are published meanwhile."""
        _must_be_relations(landing, live.plan)
        gathering = relations()
        gathering.add_published(live)
        graph = cls(built(gathering.rows()))
        return graph if cis is None else graph._with(published_items(must_be_cis(cis)))

    @classmethod
    def from_parquet(cls, path: str | Path, nodes: str | Path | None = None) -> Self:
        """The graph of the files that ``to_parquet`` wrote. Raises ``ConfigError`` where they are something else."""
        adjacency = built(files.read_edges(Path(path)))
        return cls(adjacency, None, None if nodes is None else files.read_nodes(Path(nodes), adjacency.ids))

    def with_cis(self, cis: CIs) -> Self:
        """This graph with the classes and states of its CIs.

        ``cis`` are records of ``cmdb_ci``, such as ``client.concurrent_get_records("cmdb_ci", fields=CI_FIELDS,
        display_value="all")`` gives; those that have no relations are passed over.
        """
        return self._with(items_of(cis))

    @property
    def figures(self) -> GraphFigures:
        """What it holds."""
        return files.figures(self._graph)

    @property
    def adjacency(self) -> Adjacency:
        """The graph as numbers."""
        return self._graph

    @property
    def known_cis(self) -> int:
        """CIs whose class or state is known by ``cis``."""
        return self._items.known_cis if self._items else 0

    def shape(self) -> Shape:
        """How it hangs together: components and cycles; some seconds for a million relations."""
        return shape_of(self._graph)

    @property
    def types(self) -> tuple[RelationType, ...]:
        """The types that relations have, by name."""
        return self._graph.types

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes."""
        return self._graph.nbytes + (self._items.nbytes if self._items else 0)

    def __len__(self) -> int:
        """CIs that have relations."""
        return len(self._graph.ids)

    def __contains__(self, sys_id: object) -> bool:
        return isinstance(sys_id, str) and self._graph.find(sys_id) is not None

    def __iter__(self) -> Iterator[str]:
        """The sys_ids of CIs that have relations, in order."""
        for sys_id in self._graph.ids:
            yield sys_id.as_py()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} CIs and {len(self._graph.parent):,} relations>"

    def name(self, sys_id: str) -> str:
        """The CI's name; ``""`` where it has no relations, or the instance shows none."""
        node = self._graph.find(sys_id)
        return "" if node is None else self._name(node)

    def find(self, name: str) -> list[str]:
        """The sys_ids of the CIs that have relations and bear this name, or this sys_id."""
        if name in self:
            return [name]
        found: list[str] = self._graph.ids.filter(pc.equal(self._graph.names, name)).to_pylist() if name else []
        return found

    def names_like(self, text: str, most: int = 5) -> list[str]:
        """At most so many names of CIs that have relations in which ``text`` stands, in any case of letters."""
        if not text.strip():
            return []
        found = pc.unique(self._graph.names.filter(pc.match_substring(self._graph.names, text, ignore_case=True)))
        return sorted(found.to_pylist(), key=lambda name: (len(name), name))[:most]

    def attributes(self, sys_id: str) -> dict[str, str]:
        """What is known of a CI by ``cis``: ``class``, ``class_label``, ``status``; without what is unknown."""
        node = self._graph.find(sys_id)
        return {} if node is None or self._items is None else self._items.known(node)

    def relations_of(self, sys_id: str) -> RelationsOf:
        """The relations of one CI by type, none where it has none. One to itself is outbound and inbound."""
        node = self._graph.find(sys_id)
        if node is None:
            return RelationsOf()
        return RelationsOf(self._once(node, "down"), self._once(node, "up"))

    def traverse(
        self,
        sys_id: str,
        *,
        direction: Direction = "down",
        depth: int | None = None,
        types: str | Iterable[str] | None = None,
    ) -> Iterator[Step]:
        """The CIs that can be come to from ``sys_id``, the nearest first, each once, by a shortest way.

        The order is that of depth, then of the CI before, then type and sys_id: the same whenever it is asked for.

        Args:
            sys_id: where to start; it is not among the steps. One without relations gives none.
            direction: ``down`` from parents to children (what it depends on, in most types), ``up``, or ``both``.
            depth: the most relations to follow; all when left out.
            types: only relations of these types: names (``Depends on::Used by``), halves of names, or sys_ids.

        Raises ``ConfigError`` for a direction or type that does not exist, a negative depth, and a name for a sys_id.
        """
        if direction not in DIRECTIONS:
            raise ConfigError("unknown", key="direction", value=direction, hint="down, up or both")
        if depth is not None and depth < 0:
            raise ConfigError("is negative", key="depth", value=depth, hint="0 or more, or None for all")
        numbers = chosen(self.types, types)
        node = self._graph.find(sys_id)
        if node is None:
            self._must_be_no_name(sys_id)
            return iter(())
        return self._steps(node, direction, depth, numbers)

    def edges(self) -> pa.Table:
        """A row per relation by parent, type, child and sys_id; at the end those that lack an end, which is null.

        Columns, all text: ``sys_id, parent, parent_name, child, child_name, type, label, parent_descriptor,
        child_descriptor``.
        """
        return pa.concat_tables(list(files.edge_tables(self._graph)))

    def nodes(self) -> pa.Table:
        """A row per CI that has relations, by sys_id.

        Columns: ``sys_id, name, class, class_label, status`` (text; null where unknown), and the numbers of its edges
        ``outbound`` and ``inbound``.
        """
        return files.node_table(self._graph, self._items)

    def to_parquet(self, path: str | Path, nodes: str | Path | None = None) -> None:
        """Write ``edges()``, and ``nodes()`` where a path is given for it; each file is there whole or not at all."""
        files.write_tables(Path(path), files.EDGES, files.edge_tables(self._graph))
        if nodes is not None:
            files.write_tables(Path(nodes), files.NODES, [self.nodes()])

    def to_networkx(self) -> MultiDiGraph[str]:
        """As networkx knows graphs: from parent to child, keyed by the relation's sys_id. Needs the extra ``graph``.

        CIs have ``name`` and what is known by ``cis``; edges ``type``, ``label``, ``parent_descriptor`` and
        ``child_descriptor``. Relations that lack an end are not in it.
        """
        return files.networkx_of(self._graph, self._items)

    def _with(self, found: pa.Table) -> Self:
        return type(self)(self._graph, self.report, Items(found, self._graph.ids))

    def _steps(self, start: int, direction: Direction, depth: int | None, types: Any) -> Iterator[Step]:
        ids = self._graph.ids
        for each in reached(self._graph, start, direction, depth, types):
            via, before = self._relation(each.edge), ids[each.before].as_py()
            yield Step(ids[each.node].as_py(), self._name(each.node), each.depth, via, before)

    def _once(self, node: int, direction: Direction) -> tuple[Relation, ...]:
        found: dict[tuple[int, int], int] = {}
        for edge, other in neighbours(self._graph, node, direction):
            found.setdefault((self._graph.type[edge], other), edge)
        return tuple(self._relation(edge) for edge in found.values())

    def _relation(self, edge: int) -> Relation:
        graph = self._graph
        parent, child = graph.parent[edge], graph.child[edge]
        return Relation(
            sys_id=graph.sys_ids[edge].as_py(),
            parent=graph.ids[parent].as_py(),
            parent_name=self._name(parent),
            child=graph.ids[child].as_py(),
            child_name=self._name(child),
            type=graph.types[graph.type[edge]],
        )

    def _name(self, node: int) -> str:
        return str(self._graph.names[node].as_py())

    def _must_be_no_name(self, sys_id: str) -> None:
        named = self.find(sys_id)
        if named:
            hint = f"its sys_id is {named[0]}" if len(named) == 1 else f"{len(named)} CIs bear it: see graph.find()"
            raise ConfigError("is the name of a CI, not its sys_id", key="sys_id", value=sys_id, hint=hint)


def _must_be_relations(landing: Landing, plan_id: str) -> None:
    plan = landing.read_plan(plan_id)
    hint = f"see the pull {landing.pull} in pulls.yaml"
    if plan.table != TABLE:
        raise ConfigError(f"is of the table {plan.table}, not of {TABLE}", key="pull", value=landing.pull, hint=hint)
    missing = [field for field in FIELDS if field not in plan.fields]
    if missing:
        raise ConfigError(f"does not land {', '.join(missing)}", key="pull", value=landing.pull, hint=hint)
    if plan.display_value == "true":
        message = "has no stored values, by which relations are told"
        raise ConfigError(message, key="pull", value=landing.pull, hint="set display_value: all")
