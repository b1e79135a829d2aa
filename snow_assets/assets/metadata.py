"""Metadata of totals, datasets and exports for the UI."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import dagster as dg

from snow_assets.pulls import Current, Dataset, Plan, Sweep, Totals
from snow_assets.pulls.columns import PLAN_COLUMN
from snow_assets.pulls.exports import ExportFile
from snow_assets.pulls.governed import Governed, added_up
from snow_assets.pulls.schema import UNREADABLE, ColumnSchema, TableSchema

_BLOCKS = "▁▂▃▄▅▆▇█"
_COLUMNS = 72  # of a chart made of text
_CHARTS = 5  # newest runs drawn
CELL_TYPE = "struct<display_value, value, link>"  # all three are strings
_SWEEPS = {
    "left": "the window without the query",
    "verify": "the keys of all rows",
    "audit": "the log of deletions",
}
_CURRENT_COLUMNS = (
    (PLAN_COLUMN, "string", "the plan that saw this version of the row"),
    ("_deleted_at", "timestamp", "UTC: when the row was deleted, or when that was noticed; else null"),
    ("_deleted_by", "string", "how it was noticed: audit (the log of deletions), keys or sweep"),
    ("_left_at", "timestamp", "UTC: when the row left the filter or was reclassified; else null"),
    ("_state", "string", "live, deleted, left_filter or reclassified: the partition, so that live rows lie apart"),
)


def totals_metadata(totals: Totals) -> dict[str, dg.MetadataValue]:
    """The receipt: figures that the UI plots, the differences as a table in Markdown, and where the page lies."""
    metadata: dict[str, dg.MetadataValue] = {
        "plan_id": dg.MetadataValue.text(totals.plan),
        "receipt": dg.MetadataValue.md(receipt_md(totals)),
        "receipt_page": link(totals.receipt),
        "landed": dg.MetadataValue.int(totals.landed),
        "digest": dg.MetadataValue.text(totals.digest),
        "seconds": dg.MetadataValue.float(float(totals.seconds)),
    }
    for name, number in (("counted", totals.counted), ("hidden", totals.hidden)):
        if number is not None:
            metadata[name] = dg.MetadataValue.int(number)
    for name in ("requests", "retries"):
        if name in totals.cost:
            metadata[name] = dg.MetadataValue.int(int(totals.cost[name]))
    return metadata | governor_metadata(totals.governor)


def sweep_metadata(found: Sweep) -> dict[str, dg.MetadataValue]:
    """What a sweep found, as figures that the UI plots, and what it has to say."""
    metadata: dict[str, dg.MetadataValue] = {
        "plan_id": dg.MetadataValue.text(found.plan),
        "sweeps": dg.MetadataValue.text(
            ", ".join(_SWEEPS.get(kind, kind) for kind in found.kinds) or "none was needed"
        ),
        "swept": dg.MetadataValue.int(found.swept),
        "mended": dg.MetadataValue.int(found.missed + found.restored + found.changed),
        "left_filter": dg.MetadataValue.int(found.left_filter),
        "reclassified": dg.MetadataValue.int(found.reclassified),
        "deleted": dg.MetadataValue.int(sum(found.deleted.values())),
        "seconds": dg.MetadataValue.float(round(found.seconds, 3)),
        "requests": dg.MetadataValue.int(int(found.cost.get("requests", 0))),
    }
    lines = [line for line in (found.unknown, *found.notes) if line]
    if lines:
        metadata["notes"] = dg.MetadataValue.md("\n".join(f"- {_cell(line)}" for line in lines))
    return metadata


def current_metadata(now: Current, as_of: datetime, schema: TableSchema | None) -> dict[str, dg.MetadataValue]:
    """What the catalogue shows of the current rows."""
    columns = [*column_schema(now.fields, schema).columns, *(dg.TableColumn(*column) for column in _CURRENT_COLUMNS)]
    return {
        "dagster/row_count": dg.MetadataValue.int(now.rows),
        "dagster/column_schema": dg.MetadataValue.table_schema(dg.TableSchema(columns=columns)),
        "dagster/uri": dg.MetadataValue.text(_uri(now.location)),
        "deleted": dg.MetadataValue.int(now.deleted),
        "left": dg.MetadataValue.int(now.left),
        "version": dg.MetadataValue.int(now.version),
        "files": dg.MetadataValue.int(len(now.files)),
        "plan_id": dg.MetadataValue.text(now.plan),
        "as_of": dg.MetadataValue.timestamp(as_of),
    }


def governor_metadata(runs: Sequence[Governed]) -> dict[str, dg.MetadataValue]:
    """Figures of all runs that the UI plots, and the newest runs' limit of requests in flight over time; as text."""
    if not runs:
        return {}
    metadata: dict[str, dg.MetadataValue] = {
        name: dg.MetadataValue.float(number) if isinstance(number, float) else dg.MetadataValue.int(number)
        for name, number in added_up(runs).items()
    }
    charts = "\n\n".join(_text_chart(run) for run in runs[-_CHARTS:])
    metadata["requests in flight over time"] = dg.MetadataValue.md(f"```\n{charts}\n```")
    return metadata


def _text_chart(run: Governed) -> str:
    """The limit over time as a line of blocks, and below it where all requests paused."""
    steps = [(0.0, run.limit), *((at, limit) for at, limit, _ in run.steps)]
    top = max(limit for _, limit in steps)
    edges = [run.seconds * column / _COLUMNS for column in range(_COLUMNS + 1)]
    spans = list(pairwise(edges))
    levels = [_highest(steps, began, until) for began, until in spans]
    line = "".join(_BLOCKS[max(0, round(level / top * len(_BLOCKS)) - 1)] for level in levels)
    paused = "".join(
        "=" if any(began < end and until > start for began, until, _ in run.paused) else " " for start, end in spans
    )
    lines = [f"{run.began[:19]}, 0 to {run.seconds:.1f} s, highest block = {top}", line]
    return "\n".join([*lines, f"{paused.rstrip()}  (= all paused)"] if run.paused else lines)


def _highest(steps: Sequence[tuple[float, int]], began: float, until: float) -> int:
    """The highest limit in a span: the one that held when it began, and those taken in it."""
    held = [limit for at, limit in steps if at <= began][-1]
    return max([held, *(limit for at, limit in steps if began < at < until)])


def receipt_md(totals: Totals) -> str:
    """The receipt as Markdown tables."""
    figures = [
        ("counted", _number(totals.counted)),
        ("landed", _number(totals.landed)),
        ("hidden", _number(totals.hidden)),
        ("duplicates", _number(totals.duplicates)),
        ("missing", _number(totals.missing)),
        ("slices", _number(totals.slices)),
        ("requests", _number(totals.cost.get("requests"))),
        ("retries", _number(totals.cost.get("retries"))),
    ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in figures)]
    if totals.differences:
        lines += ["", "| difference | rows | evidence |", "|---|---|---|"]
        lines += [f"| {each.cause} | {each.rows:+,} | {_cell(each.evidence)} |" for each in totals.differences]
    return "\n".join(lines)


def dataset_metadata(
    plan: Plan, totals: Totals, dataset: Dataset, schema: TableSchema | None
) -> dict[str, dg.MetadataValue]:
    """What the catalogue shows: rows, columns with their ServiceNow types, where the table lies and its version."""
    return {
        "dagster/row_count": dg.MetadataValue.int(dataset.rows),
        "dagster/column_schema": dg.MetadataValue.table_schema(column_schema(dataset.fields, schema)),
        "dagster/uri": dg.MetadataValue.text(_uri(dataset.location)),
        "version": dg.MetadataValue.int(dataset.version),
        "files": dg.MetadataValue.int(len(dataset.files)),
        "plan_id": dg.MetadataValue.text(plan.plan_id),
        "as_of": dg.MetadataValue.timestamp(plan.as_of),
        "receipt_page": link(totals.receipt),
        **({} if schema is None or schema.readable else {"dictionary": dg.MetadataValue.text(UNREADABLE)}),
    }


def column_schema(fields: Sequence[str], schema: TableSchema | None) -> dg.TableSchema:
    """The columns of a table of landed rows, as the UI shows them. ``schema`` is that of the newest plan in it."""
    known = schema.by_name if schema else {}
    versions = PLAN_COLUMN in fields  # of a row there may be several
    return dg.TableSchema(columns=[_column(name, known.get(name), versions=versions) for name in fields])


def _column(name: str, column: ColumnSchema | None, *, versions: bool) -> dg.TableColumn:
    if name == PLAN_COLUMN:
        return dg.TableColumn(name, "string", description="the plan that saw this version of the row")
    if column is None:
        return dg.TableColumn(name, CELL_TYPE, description="null in the rows of the newest plan, which lacks it")
    said = column.kind if column.described else f"{column.type}, not described by the dictionary"
    facts = ["mandatory in forms"] * column.mandatory
    facts += [f"at most {column.max_length} characters"] * (column.max_length > 0)
    identifies = name == "sys_id"
    return dg.TableColumn(
        name,
        CELL_TYPE,
        description=f"{column.label}: {said}" if column.label else said,
        constraints=dg.TableColumnConstraints(nullable=not identifies, unique=identifies and not versions, other=facts),
    )


def _uri(location: str) -> str:
    return location if "://" in location else Path(location).as_uri()


def link(location: str) -> dg.MetadataValue:
    """A path or a URL, which the UI lets people copy or follow."""
    return dg.MetadataValue.url(location) if "://" in location else dg.MetadataValue.path(location)


def files_metadata(files: Sequence[ExportFile]) -> dict[str, dg.MetadataValue]:
    """Where the files of an export are, and their bytes, by their names' endings."""
    metadata: dict[str, dg.MetadataValue] = {}
    for file in files:
        ending = file.name.partition(".")[2]
        metadata[ending] = link(file.location)
        metadata[f"{ending} bytes"] = dg.MetadataValue.int(file.size)
    return metadata


def _number(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
