"""A corpus: the live rows of a pull as one Parquet file and one file of raw records, with a manifest.

Below ``<data>/<pull>.corpus``: ``<plan_id>.parquet``, ``<plan_id>.jsonl``, and ``corpus.json``, which is replaced last
and names only what is whole. Rows lie in the order of their sys_ids, so equal rows make equal files of records.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from snow_assets.errors import PlanIncomplete
from snow_assets.pulls.columns import RowDigest
from snow_assets.pulls.current_files import INTERNAL
from snow_assets.pulls.exports import (
    ExportFile,
    Parts,
    Written,
    are_there,
    exports_at,
    prune,
    read_manifest,
    write_manifest,
)
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.ledger import Difference
from snow_assets.pulls.live import ID, Live, live_rows
from snow_assets.pulls.ordered import write_ordered
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.records import json_lines, raw_records, without_nulls
from snow_assets.pulls.stores import Store
from snow_assets.pulls.totals import Totals, read_totals

MANIFEST: Final = "corpus.json"
KEPT: Final = 2  # newest exports


@dataclass(frozen=True, slots=True)
class Corpus:
    """An export, as its manifest tells. ``counted + sum(difference.rows) == rows`` where the instance counted.

    ``counted`` is ``None`` where it did not, and for delta pulls, of which the instance counts windows only; then the
    rows are held against those of the current table. ``digest`` is the order-independent digest of the rows.
    ``changed`` tells whether this call wrote it.
    """

    pull: str
    plan: str
    as_of: str
    table: str
    query: str
    mode: str
    display_value: str
    fields: tuple[str, ...]
    rows: int
    counted: int | None
    hidden: int | None
    differences: tuple[Difference, ...]
    digest: str
    made: str
    files: tuple[ExportFile, ...]
    changed: bool = False


def home_of(landing: Landing) -> Landing:
    """Where the corpora of a pull lie; a lease of it is the exports' own."""
    return Landing(landing.pull, landing.beside("corpus"))


def read_corpus(landing: Landing) -> Corpus | None:
    """The newest export, or ``None``. Raises ``LandingError`` where the manifest is damaged."""
    return read_manifest(home_of(landing).store, MANIFEST, Corpus)


def export_corpus(landing: Landing, *, again: bool = False) -> Corpus:
    """Export what is published now; what was exported before, and is there, is returned as it is.

    A part that a dead run finished is adopted by its hash; ``again`` writes every part anew. Nothing in memory grows
    with the table. Whoever calls this holds the lease of ``home_of(landing)``.

    Raises ``ConfigError`` where nothing is published, ``PlanIncomplete`` where the rows of a part are not those that
    were published, and ``LandingError`` for the disk.
    """
    live = live_rows(landing)
    store = home_of(landing).store
    known = read_corpus(landing)
    if known is not None and not again and known.plan == live.plan and are_there(store, known.files):
        return known
    plan = landing.read_plan(live.plan)
    store.check_writable()
    store.remove_scratch()
    export = _Export(live, plan, Parts(store, live.plan, again=again))
    parquet = export.parquet()
    jsonl, digest = export.jsonl(parquet)
    totals = read_totals(landing, live.plan) if live.mode == "full" else None
    _must_be_valid(live, parquet, jsonl, digest, totals, store)
    corpus = Corpus(
        pull=live.pull,
        plan=live.plan,
        as_of=plan.as_of.isoformat(),
        table=plan.table,
        query=plan.base_query,
        mode=live.mode,
        display_value=plan.display_value,
        fields=_fields(live),
        rows=live.rows,
        counted=totals.counted if totals else None,
        hidden=totals.hidden if totals else None,
        differences=totals.differences if totals else (),
        digest=digest,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        files=(parquet, jsonl),
    )
    content = {name: value for name, value in asdict(corpus).items() if name != "changed"}
    write_manifest(store, MANIFEST, content)
    _prune(store, live.plan)
    return replace(corpus, changed=True)


class _Export:
    """The files of one export."""

    def __init__(self, live: Live, plan: Plan, parts: Parts) -> None:
        self._live, self._plan, self._parts = live, plan, parts

    def parquet(self) -> ExportFile:
        """The rows in one file, in order."""
        live = self._live

        def write(target: Path) -> Written:
            return Written(write_ordered(live.files, _fields(live), self._plan.key or (ID,), live.rows, target))

        return self._parts.part("parquet", write)

    def jsonl(self, parquet: ExportFile) -> tuple[ExportFile, str]:
        """The raw records, key for key, and the digest of the rows. Read back from the rows that were written."""

        def write(target: Path) -> Written:
            digest, lines = RowDigest(), 0
            with self._parts.store.parquet(parquet.name) as source, target.open("wb") as file:
                for record in raw_records(source, self._plan.display_value):
                    file.writelines(json_lines((record,)))
                    digest.add_records((without_nulls(record),))
                    lines += 1
            return Written(lines, {"digest": digest.hex()})

        found = self._parts.part("jsonl", write)
        return found, self._parts.fact(found, "digest")


def _fields(live: Live) -> tuple[str, ...]:
    """Without the columns that are ours."""
    return tuple(name for name in live.fields if name not in INTERNAL)


def _must_be_valid(
    live: Live, parquet: ExportFile, jsonl: ExportFile, digest: str, totals: Totals | None, store: Store
) -> None:
    """Every part holds the rows that were published, and those are what was counted but for what is explained."""
    found = [
        f"{file.name} has {file.rows:,} rows, {live.rows:,} are published"
        for file in (parquet, jsonl)
        if file.rows != live.rows
    ]
    if totals is not None:
        explained = sum(difference.rows for difference in totals.differences)
        if totals.counted is not None and totals.counted + explained != live.rows:
            found.append(f"{totals.counted:,} were counted and {explained:+,} explained, {live.rows:,} are published")
        if totals.digest != digest:
            found.append("the rows are not those that landed: their digests differ")
    if found:
        raise PlanIncomplete(
            f"the corpus is not written: {'; '.join(found)}",
            key="corpus",
            value=store.location,
            hint=f"export it again: snow-assets corpus {live.pull} --again",
        )


def _prune(store: Store, plan: str) -> None:
    """Remove all but the newest exports."""
    older = sorted({export for export in exports_at(store).values() if export < plan})
    prune(store, {plan, *older[-(KEPT - 1) :]})
