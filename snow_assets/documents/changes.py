"""What differs between two sets of documents, by their ids and content hashes.

Ids come in order, so that sets of any size are compared as they are read; several comparisons that follow one another
add up to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, TypeAlias

import pyarrow as pa

from snow_assets.pulls.workspace import workspace

Kind: TypeAlias = Literal["added", "changed", "deleted"]
Hash: TypeAlias = tuple[str, str]
"""Id and content hash of a document."""

SCHEMA: Final = pa.schema([(name, pa.string()) for name in ("id", "change", "content_hash", "previous_hash")])
_PORTION: Final = 4_096


@dataclass(frozen=True, slots=True)
class Change:
    """How a document differs: its hash now (``None`` where it was deleted) and before (``None`` where it is new)."""

    id: str
    change: Kind
    content_hash: str | None
    previous_hash: str | None


def compare(before: Iterable[Hash], after: Iterable[Hash]) -> Iterator[Change]:
    """What it takes from one set to the other, by id. Both come in the order of their ids."""
    olds, news = iter(before), iter(after)
    old, new = next(olds, None), next(news, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[0] < new[0]):
            change = _change(old[0], old[1], None) if old is not None else None
            old = next(olds, None)
        elif old is None or new[0] < old[0]:
            change = _change(new[0], None, new[1])
            new = next(news, None)
        else:
            change = _change(new[0], old[1], new[1])
            old, new = next(olds, None), next(news, None)
        if change is not None:
            yield change


def added_up(steps: Iterable[Iterable[pa.RecordBatch]]) -> Iterator[Change]:
    """Comparisons of which each begins where the one before ended, as one; by id.

    A document that came to be what it was is ``changed``, and one that was added and then deleted is ``deleted``: an
    index that stopped half-way through the changes of an export between may hold what it was then.
    """
    with workspace() as (connection, _):
        connection.execute("CREATE TABLE step (number INTEGER, id VARCHAR, before VARCHAR, after VARCHAR)")
        for number, batches in enumerate(steps):
            for batch in batches:
                connection.register("batch", pa.Table.from_batches([batch]))
                connection.execute("INSERT INTO step SELECT ?, id, previous_hash, content_hash FROM batch", [number])
                connection.unregister("batch")
        found = connection.execute(
            """
            SELECT id, arg_min_null(before, number) AS first, arg_max_null(after, number) AS last
            FROM step GROUP BY id ORDER BY id
            """
        )
        while rows := found.fetchmany(_PORTION):
            for id_, first, last in rows:
                yield Change(id_, _kind(first, last), last, first)


def portions(found: Iterable[Change]) -> Iterator[list[Change]]:
    """Changes, some thousands at a time."""
    rest = iter(found)
    while portion := list(islice(rest, _PORTION)):
        yield portion


def _change(id_: str, before: str | None, after: str | None) -> Change | None:
    return None if before == after else Change(id_, _kind(before, after), after, before)


def _kind(before: str | None, after: str | None) -> Kind:
    return "deleted" if after is None else "added" if before is None else "changed"
