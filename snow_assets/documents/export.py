"""The documents of a pull as files, and what changed since the export before, so that an index can be kept up.

Below ``<data>/<pull>.documents``: ``<export>.parquet`` and ``<export>.jsonl`` with the documents, in the order of
their ids; ``<export>.changes.parquet`` and ``<export>.changes.jsonl`` with what was added, changed and deleted since
the export before; and ``documents.json``, which is replaced last and names only what is whole. An export is named by
the plan of its rows and a number, ``20261120T020000Z-1``.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.documents import changes
from snow_assets.documents.document import Document
from snow_assets.documents.table import SCHEMA, document_of, hashes, loose_tables, rows_of, write_loose
from snow_assets.errors import PlanIncomplete
from snow_assets.pulls.exports import (
    ExportFile,
    Parts,
    Written,
    are_there,
    drop_notes,
    finished_exports,
    prune,
    read_manifest,
    write_manifest,
)
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.live import Live, live_rows
from snow_assets.pulls.ordered import Rows, write_in_order
from snow_assets.pulls.stores import Store, sha256_of

MANIFEST: Final = "documents.json"
KEPT: Final = 2  # newest exports whose documents stay
KEPT_CHANGES: Final = 500  # newest exports whose changes stay
_TRIES: Final = 3  # where rows are published anew meanwhile


@dataclass(frozen=True, slots=True)
class Source:
    """Documents to be exported, in any order.

    ``recipe`` is the fingerprint of how they are made; ``beside`` names the plans of other pulls that they are made
    of, by their use.
    """

    read: Callable[[], Iterator[Document]]
    recipe: str
    beside: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """An export of the past, and what changed since the one before it, ``previous``."""

    export: str
    plan: str
    previous: str | None
    made: str
    rows: int
    added: int
    changed: int
    deleted: int
    recipe: str
    changes: ExportFile


@dataclass(frozen=True, slots=True)
class Export:
    """An export, as its manifest tells. ``added + changed + unchanged == rows``.

    ``previous`` is the export that the changes are counted from; ``None`` where there is none, and every document was
    added. ``new_recipe``: documents are made in another way than they were there. ``digest`` is SHA-256 over ids and
    content hashes. ``history`` holds this export, last, and those before it. ``written`` tells whether this call
    wrote it.
    """

    pull: str
    export: str
    plan: str
    as_of: str
    table: str
    previous: str | None
    previous_plan: str | None
    rows: int
    added: int
    changed: int
    deleted: int
    unchanged: int
    recipe: str
    new_recipe: bool
    beside: Mapping[str, str]
    digest: str
    made: str
    files: tuple[ExportFile, ...]
    history: tuple[Step, ...]
    written: bool = False


def home_of(landing: Landing) -> Landing:
    """Where the documents of a pull lie; a lease of it is the exports' own."""
    return Landing(landing.pull, landing.beside("documents"))


def read_export(landing: Landing) -> Export | None:
    """The newest export, or ``None``. Raises ``LandingError`` where the manifest is damaged."""
    return read_manifest(home_of(landing).store, MANIFEST, Export)


def export_documents(landing: Landing, source: Callable[[], Source], *, again: bool = False) -> Export:
    """Export the documents of what is published now; an export of the same that is there is returned as it is.

    ``source`` tells from what documents are made now. ``again`` writes every file anew. Nothing in memory grows with
    the table. Whoever calls this holds the lease of ``home_of(landing)``.

    Raises ``ConfigError`` where nothing is published, ``PlanIncomplete`` where there is not one document for each row,
    and ``LandingError`` for the disk.
    """
    for tries in range(1, _TRIES + 1):
        live = live_rows(landing)
        try:
            return _export(landing, live, source(), again=again)
        except PlanIncomplete:
            if tries == _TRIES or live_rows(landing).plan == live.plan:
                raise
    raise AssertionError("the last try returns or raises")


def _export(landing: Landing, live: Live, source: Source, *, again: bool) -> Export:
    home = home_of(landing)
    store = home.store
    known = read_export(landing)
    if known:
        drop_notes(store, known.export)  # of a run that died when it had named them
    made_of = (live.plan, source.recipe, dict(source.beside))
    if known and not again and made_of == (known.plan, known.recipe, known.beside) and are_there(store, known.files):
        return known
    plan = landing.read_plan(live.plan)
    store.check_writable()
    store.remove_scratch()
    previous = _whole(store, known)
    name = _next_name(store, known, live.plan)
    inputs = hashlib.sha256(repr((made_of, previous and previous.export)).encode()).hexdigest()
    making = _Making(home, Parts(store, name, inputs=inputs, again=again), live)
    files, figures, digest = making.files(source, previous)
    export = Export(
        pull=live.pull,
        export=name,
        plan=live.plan,
        as_of=plan.as_of.isoformat(),
        table=plan.table,
        previous=previous.export if previous else None,
        previous_plan=previous.plan if previous else None,
        rows=files[0].rows,
        added=figures["added"],
        changed=figures["changed"],
        deleted=figures["deleted"],
        unchanged=figures["unchanged"],
        recipe=source.recipe,
        new_recipe=previous is not None and previous.recipe != source.recipe,
        beside=dict(source.beside),
        digest=digest,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
        history=(),
    )
    export = replace(export, history=(*(previous.history if previous else ()), _step(export))[-KEPT_CHANGES:])
    content = {field: value for field, value in asdict(export).items() if field != "written"}
    write_manifest(store, MANIFEST, content)
    whole = {step.export for step in export.history[-KEPT:]}
    prune(store, whole, {step.changes.name for step in export.history})
    return replace(export, written=True)


class _Making:
    """The files of one export in the making."""

    def __init__(self, home: Landing, parts: Parts, live: Live) -> None:
        self._home, self._parts, self._live = home, parts, live

    def files(self, source: Source, previous: Export | None) -> tuple[tuple[ExportFile, ...], dict[str, int], str]:
        """The four files, how many documents were added and so on, and the digest."""
        parquet = self._parts.part("parquet", partial(self._write_rows, source))
        jsonl = self._parts.part("jsonl", partial(self._write_lines, parquet))
        changed = self._parts.part("changes.parquet", partial(self._write_changes, parquet, previous))
        lines = self._parts.part("changes.jsonl", partial(self._write_change_lines, changed))
        figures = {kind: int(self._parts.fact(changed, kind)) for kind in ("added", "changed", "deleted")}
        figures["unchanged"] = parquet.rows - figures["added"] - figures["changed"]
        if previous is not None and figures["changed"] + figures["unchanged"] + figures["deleted"] != previous.rows:
            raise self._wrong(
                f"{previous.rows:,} documents were there before, and {figures} is not what became of them"
            )
        return (parquet, jsonl, changed, lines), figures, self._parts.fact(jsonl, "digest")

    def _write_rows(self, source: Source, target: Path) -> Written:
        with tempfile.TemporaryDirectory(prefix="snow_assets-") as folder:
            loose = Path(folder) / "loose.parquet"
            rows = write_loose(source.read(), loose)
            written = write_in_order(Rows(SCHEMA, ("id",), partial(loose_tables, loose)), rows, target)
        return self._all(written)

    def _write_lines(self, parquet: ExportFile, target: Path) -> Written:
        """One document per line, read back from the rows: each must be what its hash says, and once only."""
        digest, last, lines = hashlib.sha256(), "", 0
        encode = msgspec.json.Encoder().encode
        with self._reading(parquet) as source, target.open("wb") as file:
            for row in rows_of(source):
                document = document_of(row)
                if document.content_hash != row["content_hash"] or document.id != row["id"]:
                    raise self._wrong(f"{row['id']} is not what was written")
                if row["id"] == last:
                    raise self._wrong(f"{last} is there twice")
                last = row["id"]
                line = {"id": last, **asdict(document), "content_hash": row["content_hash"]}
                file.write(encode(line) + b"\n")
                digest.update(f"{last} {row['content_hash']}\n".encode())
                lines += 1
        return self._all(lines, digest=digest.hexdigest())

    def _write_changes(self, parquet: ExportFile, previous: Export | None, target: Path) -> Written:
        counts: Counter[str] = Counter()
        before = hashes(self._home, previous.files[0].name) if previous else iter(())
        found = changes.compare(before, hashes(self._home, parquet.name))
        with pq.ParquetWriter(target, changes.SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            for portion in changes.portions(found):
                writer.write_table(pa.Table.from_pylist([asdict(each) for each in portion], schema=changes.SCHEMA))
                counts.update(each.change for each in portion)
        return Written(counts.total(), {kind: str(counts[kind]) for kind in ("added", "changed", "deleted")})

    def _write_change_lines(self, changed: ExportFile, target: Path) -> Written:
        lines = 0
        encode = msgspec.json.Encoder().encode
        with self._reading(changed) as source, target.open("wb") as file:
            for row in rows_of(source):
                file.write(encode(row) + b"\n")
                lines += 1
        return Written(lines)

    def _reading(self, file: ExportFile) -> Any:
        return self._home.reading(file.name, f"export it again: snow-assets documents {self._home.pull} --again")

    def _all(self, rows: int, **facts: str) -> Written:
        """What is not one document for each row is not taken for finished."""
        if rows != self._live.rows:
            raise self._wrong(f"{rows:,} documents were made of {self._live.rows:,} published rows")
        return Written(rows, facts)

    def _wrong(self, why: str) -> PlanIncomplete:
        return PlanIncomplete(
            f"the documents are not written: {why}",
            key="documents",
            value=self._home.location,
            hint=f"export them again: snow-assets documents {self._home.pull} --again",
        )


def _whole(store: Store, known: Export | None) -> Export | None:
    """The export whose manifest lies there, if its documents can be compared with."""
    if known is None:
        return None
    try:
        return known if sha256_of(store, known.files[0].name) == known.files[0].sha256 else None
    except FileNotFoundError:
        return None


def _next_name(store: Store, known: Export | None, plan: str) -> str:
    """One that no export had, as history tells, or the files where the manifest is lost: an index may hold it."""
    had = finished_exports(store) if known is None else {step.export for step in known.history}
    numbers = [int(name.rpartition("-")[2]) for name in had if name.startswith(f"{plan}-")]
    return f"{plan}-{max(numbers, default=0) + 1}"


def _step(export: Export) -> Step:
    same = ("export", "plan", "previous", "made", "rows", "added", "changed", "deleted", "recipe")
    return Step(**{name: getattr(export, name) for name in same}, changes=export.files[2])
