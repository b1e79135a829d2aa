"""A load of an import as JSON, and as rows of text: a contract, see docs/cli.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_assets.imports.books_records import LoadRecord, SetRecord
    from snow_assets.imports.contract import Counters

FIGURES = ("total", "inserts", "updates", "ignored", "skipped", "errors")


def load_data(name: str, load: LoadRecord | None, sets: Sequence[SetRecord]) -> dict[str, Any]:
    """Where an import stands, by its load and that load's sets. ``state`` is ``none`` where nothing was ever loaded."""
    if load is None:
        return {"import": name, "state": "none", "load": None}
    return {
        "import": name,
        "state": load.state,
        "load": load.load_id,
        "number": load.number,
        "execution_context": load.context,
        "domain": load.sys_domain,
        "staged": load.staged,
        "rejected": load.rejected,
        "import_sets": count_sets(sets),
        "counters": added_up(sets).as_dict(),
        "created": load.created.isoformat(),
        "completed": load.completed.isoformat() if load.completed else None,
        "message": load.error,
    }


def count_sets(sets: Iterable[SetRecord]) -> dict[str, int]:
    """How many sets there are, and how many of them stand how, by their newest job."""
    counts = {"total": 0, "pending": 0, "running": 0, "completed": 0, "error": 0}
    for each in sets:
        counts["total"] += 1
        if each.job is not None:
            counts[each.job.state] += 1
    return counts


def added_up(sets: Iterable[SetRecord]) -> Counters:
    """The counters of all sets."""
    from snow_assets.imports.contract import Counters

    return sum((each.run.counters for each in sets if each.run and each.state == "processed"), Counters())


def set_data(record: SetRecord) -> dict[str, Any]:
    """An import set with its newest job and run."""
    job, run = record.job, record.run
    return {
        "set": record.set_no,
        "partition": record.partition_key,
        "number": record.number,
        "state": record.state,
        "rows": record.rows,
        "job": None
        if job is None
        else {
            "number": job.number,
            "type": job.type,
            "state": job.state,
            "retry_count": job.retry_count,
            "worker": job.worker,
            "error": job.error,
        },
        "counters": run.counters.as_dict() if run else None,
        "seconds": run.seconds if run else None,
    }


def load_row(data: dict[str, Any]) -> tuple[object, ...]:
    """A line of a table whose head is `LOAD_HEAD`."""
    if data["load"] is None:
        return (data["import"], data["state"], *("",) * 9)
    sets = data["import_sets"]
    done = f"{sets['completed']}/{sets['total']}"
    counters = [data["counters"][name] for name in FIGURES]
    return (data["import"], data["state"], data["load"], done, *counters, data["rejected"])


LOAD_HEAD = ("import", "state", "load", "sets", *FIGURES, "rejected")
SET_HEAD = ("partition", "number", "job", "state", "tries", *FIGURES, "seconds")


def set_row(data: dict[str, Any]) -> tuple[object, ...]:
    """A line of a table whose head is `SET_HEAD`."""
    job, counters = data["job"] or {}, data["counters"] or {}
    seconds = "" if data["seconds"] is None else f"{data['seconds']:.1f}"
    figures = (counters.get(name, "") for name in FIGURES)
    tries = job.get("retry_count", 0) + 1
    return (data["partition"], data["number"], job.get("type"), job.get("state"), tries, *figures, seconds)
