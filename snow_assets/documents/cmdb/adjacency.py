"""Relations as integers: each CI, and each type, is a number, and the edges of a CI lie side by side.

A relation costs its sys_id and 16 bytes, a CI its sys_id, its name and 8 bytes; see ``bench/graph.py``.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.documents.cmdb.relations import RelationType

_INT: Final = pa.int32()
_ENDS: Final = ("parent", "child")
OPEN: Final = pa.schema([("sys_id", pa.string()), ("parent", pa.string()), ("child", pa.string()), ("type", _INT)])
"""Relations that lack an end, which is ``""``."""


@dataclass(frozen=True, slots=True, eq=False)
class Adjacency:
    """The graph. CIs are numbered by sys_id, types by label, edges by parent, type, child and sys_id.

    The outbound edges of CI ``n`` are ``down[n]`` to ``down[n + 1]``; the inbound ones are the numbers of edges that
    lie in ``inbound`` at ``up[n]`` to ``up[n + 1]``, by type, parent and sys_id.
    """

    ids: pa.StringArray
    names: pa.StringArray
    types: tuple[RelationType, ...]
    sys_ids: pa.StringArray
    parent: memoryview
    child: memoryview
    type: memoryview
    down: array[int]
    inbound: memoryview
    up: array[int]
    open: pa.Table

    def find(self, sys_id: str) -> int | None:
        """The number of a CI; ``None`` where it has no relations."""
        at = bisect_left(self.ids, sys_id, key=_text)
        return at if at < len(self.ids) and self.ids[at].as_py() == sys_id else None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        views = sum(view.nbytes for view in (self.parent, self.child, self.type, self.inbound))
        offsets = sum(len(each) * each.itemsize for each in (self.down, self.up))
        return int(views + offsets + sum(each.nbytes for each in (self.ids, self.names, self.sys_ids, self.open)))

    def edges(self, name: str) -> pa.Array:
        """``parent``, ``child`` or ``type`` of all edges, as Arrow."""
        view: memoryview = getattr(self, name)
        return pa.Array.from_buffers(_INT, len(view), [None, pa.py_buffer(view)])


def _text(value: Any) -> str:
    return str(value.as_py())


def built(rows: pa.Table) -> Adjacency:
    """The graph of gathered rows (``gathering.ROWS``), the same for the same rows in any order."""
    ids, names = _nodes(rows)
    types, type_numbers = _types(rows)
    numbers = {end: _numbers(rows.column(end), ids) for end in _ENDS}
    edges = pa.table({"sys_id": rows.column("sys_id"), **numbers, "type": type_numbers})
    whole = pc.and_(pc.is_valid(edges.column("parent")), pc.is_valid(edges.column("child")))
    open_ = _open(edges.filter(pc.invert(whole)), ids)
    edges = edges.filter(whole).sort_by([(name, "ascending") for name in ("parent", "type", "child", "sys_id")])
    inbound = pc.sort_indices(edges, sort_keys=[(name, "ascending") for name in ("child", "type", "parent", "sys_id")])
    parent, child = _ints(edges.column("parent")), _ints(edges.column("child"))
    return Adjacency(
        ids=ids,
        names=names,
        types=types,
        sys_ids=_one(edges.column("sys_id")),
        parent=parent,
        child=child,
        type=_ints(edges.column("type")),
        down=_offsets(parent, len(ids)),
        inbound=_ints(inbound.cast(_INT)),
        up=_offsets(child, len(ids)),
        open=open_,
    )


def _nodes(rows: pa.Table) -> tuple[pa.StringArray, pa.StringArray]:
    """The CIs that are named as ends, by sys_id, and their names: where rows differ, the last in the alphabet."""
    ids = pc.unique(pa.concat_arrays([_dictionary(rows.column(end)).dictionary for end in _ENDS]))
    ids = ids.filter(pc.not_equal(ids, ""))
    ids = ids.take(pc.sort_indices(ids))
    names = [""] * len(ids)
    for end in _ENDS:
        named = _dictionary(rows.column(f"{end}_name"))
        pairs = pa.table({"node": _numbers(rows.column(end), ids), "name": named.indices})
        pairs = pairs.filter(pc.is_valid(pairs.column("node"))).group_by(["node", "name"]).aggregate([])
        texts = named.dictionary.take(_one(pairs.column("name"))).to_pylist()
        for node, name in zip(_ints(pairs.column("node")), texts, strict=True):
            names[node] = max(names[node], name)
    return ids, pa.array(names, pa.string())


def _types(rows: pa.Table) -> tuple[tuple[RelationType, ...], pa.Array]:
    """The types by label, and the number of each row's type."""
    labels: dict[str, str] = {}
    type_, label = (_dictionary(rows.column(name)) for name in ("type", "label"))
    pairs = pa.table({"type": type_.indices, "label": label.indices}).group_by(["type", "label"]).aggregate([])
    for pair in pairs.to_pylist():
        sys_id, name = type_.dictionary[pair["type"]].as_py(), label.dictionary[pair["label"]].as_py()
        labels[sys_id] = max(name, labels.get(sys_id, ""))
    types = tuple(sorted((RelationType(*each) for each in labels.items()), key=lambda each: (each.label, each.sys_id)))
    return types, _numbers(rows.column("type"), pa.array([each.sys_id for each in types], pa.string()))


def _numbers(column: pa.ChunkedArray, values: pa.StringArray) -> pa.Array:
    """The place of each coded value among ``values``; null where it is not there."""
    coded = _dictionary(column)
    return pc.index_in(coded.dictionary, value_set=values).take(coded.indices)


def _dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return column.chunk(0)


def _open(edges: pa.Table, ids: pa.StringArray) -> pa.Table:
    ends = {end: pc.fill_null(ids.take(_one(edges.column(end))), "") for end in _ENDS}
    columns = {"sys_id": edges.column("sys_id"), **ends, "type": edges.column("type")}
    return pa.table(columns, schema=OPEN).sort_by("sys_id")


def _one(column: Any) -> Any:
    """A column as one array, with nothing before its first value."""
    array_ = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array_, pa.ChunkedArray):  # of no rows, or too long for one
        array_ = pa.concat_arrays(array_.chunks) if array_.num_chunks else pa.array([], column.type)
    return array_ if array_.offset == 0 else pa.concat_arrays([array_])


def _ints(column: Any) -> memoryview:
    numbers = _one(column)
    return memoryview(numbers.buffers()[1])[: 4 * len(numbers)].cast("i") if len(numbers) else memoryview(array("i"))


def _offsets(ends: Iterable[int], nodes: int) -> array[int]:
    """Where the edges of each CI begin, once they lie in the order of ``ends``."""
    offsets = array("i", bytes(4 * (nodes + 1)))
    for end in ends:
        offsets[end + 1] += 1
    total = 0
    for node, count in enumerate(offsets):
        total += count
        offsets[node] = total
    return offsets
