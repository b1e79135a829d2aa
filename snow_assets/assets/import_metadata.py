"""Metadata of an import's assets for the UI."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from snow_assets.imports.books_records import LoadRecord, SetRecord
from snow_assets.imports.contract import Counters
from snow_assets.imports.flow import Finished
from snow_assets.imports.running import Outcome


def staging_metadata(load: LoadRecord, sets: Sequence[SetRecord]) -> dict[str, dg.MetadataValue]:
    """What was loaded."""
    seconds = (load.load_completed - load.created).total_seconds() if load.load_completed else 0.0
    metadata: dict[str, dg.MetadataValue] = {
        "load": dg.MetadataValue.text(load.load_id),
        "number": dg.MetadataValue.text(load.number),
        "dagster/row_count": dg.MetadataValue.int(load.staged),
        "rejected": dg.MetadataValue.int(load.rejected),
        "import_sets": dg.MetadataValue.int(len(sets)),
        "domain": dg.MetadataValue.text(load.sys_domain),
        "seconds": dg.MetadataValue.float(round(seconds, 3)),
    }
    if load.context:
        metadata["execution_context"] = dg.MetadataValue.text(load.context)
    return metadata


def outcome_metadata(outcome: Outcome) -> dict[str, dg.MetadataValue]:
    """What became of an import set, by the platform's names."""
    metadata = {
        **_counters_metadata(outcome.counters),
        "dagster/partition_row_count": dg.MetadataValue.int(outcome.counters.total),
        "import_set": dg.MetadataValue.int(outcome.set_no),
        "seconds": dg.MetadataValue.float(round(outcome.seconds, 3)),
    }
    if outcome.state == "adopted":
        metadata["adopted"] = dg.MetadataValue.bool(True)
    return metadata


def target_metadata(finished: Finished, sets: Sequence[SetRecord]) -> dict[str, dg.MetadataValue]:
    """What became of a load, and a table of its import sets."""
    load = finished.load
    metadata: dict[str, dg.MetadataValue] = {
        "load": dg.MetadataValue.text(load.load_id),
        "number": dg.MetadataValue.text(load.number),
        **_counters_metadata(finished.counters),
        "rejected": dg.MetadataValue.int(load.rejected),
        "import_sets": dg.MetadataValue.md(sets_md(sets)),
    }
    if load.completed is not None:
        metadata["seconds"] = dg.MetadataValue.float(round((load.completed - load.created).total_seconds(), 3))
    if finished.released:
        metadata["starts"] = dg.MetadataValue.text(finished.released)
    return metadata


def _counters_metadata(counters: Counters) -> dict[str, dg.MetadataValue]:
    return {name: dg.MetadataValue.int(number) for name, number in counters.as_dict().items()}


def sets_md(sets: Sequence[SetRecord]) -> str:
    """The import sets of a load as a Markdown table."""
    figures = ("total", "inserts", "updates", "ignored", "skipped", "errors")
    lines = [f"| partition | number | job | state | tries | {' | '.join(figures)} |", f"|{'---|' * 11}"]
    for each in sets:
        counters = each.run.counters.as_dict() if each.run else {}
        job = each.job
        cells = (each.partition_key, each.number, job.type if job else "", job.state if job else each.state)
        numbers = (f"{counters[name]:,}" if name in counters else "" for name in figures)
        lines.append(f"| {' | '.join(cells)} | {job.retry_count + 1 if job else 0} | {' | '.join(numbers)} |")
    return "\n".join(lines)
