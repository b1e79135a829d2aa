"""Hooks of a transform, by the platform's names: onStart, onBefore, onAfter, onComplete. Only where declared.

They see rows one at a time, as dicts of the target's fields, and cost what Python costs: see docs/import-transforms.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import TransformFailed
from snow_assets.imports.contract import CLEARED, INVALID_VALUE, MAPPED, SCRIPT_ERROR, Counters, Record
from snow_assets.imports.functions import clean, load_function, said
from snow_assets.imports.transform_bench import workbench
from snow_assets.imports.transform_context import SetContext
from snow_assets.pulls.workspace import literal, parquet

_BATCH: Final = 10_000  # rows that are Python objects at a time
_STATES: Final = MAPPED.names[1:]
_UNTOUCHED = (None, None, None)

State = tuple[str | None, str | None, int | None]


def _hook(config: ImportConfig, name: str) -> Callable[..., Any] | None:
    reference = getattr(config.transform.hooks, name)
    return load_function(reference, f"imports.{config.name}.transform.hooks.{name}") if reference else None


def _failed(config: ImportConfig, name: str, context: SetContext, error: Exception, row: int = 0) -> TransformFailed:
    place = f"row {row} of the import set" if row else "the import set"
    message = f"raises in {place} {context.set_name}: {said(error)}"
    return TransformFailed(message, key=f"hooks.{name}", value=getattr(config.transform.hooks, name))


def run_start(config: ImportConfig, context: SetContext) -> None:
    """Call ``on_start`` once for a context. Raises ``TransformFailed``."""
    hook = _hook(config, "on_start")
    if hook is None or context.started:
        return
    try:
        hook(context)
    except Exception as error:
        raise _failed(config, "on_start", context, error) from error
    context.started = True


def run_before(config: ImportConfig, batches: Iterable[pa.Table], context: SetContext) -> Iterator[pa.Table]:
    """The mapped batches as ``on_before`` lets them pass."""
    hook = _hook(config, "on_before")
    for batch in batches:
        yield _before(hook, batch, context) if hook else batch


def _before(hook: Callable[..., Any], batch: pa.Table, context: SetContext) -> pa.Table:
    fields = [name for name in batch.schema.names if name not in (*MAPPED.names, CLEARED)]
    records: list[Record] = batch.select(fields).to_pylist()
    states: list[State] = list(zip(*(batch[name].to_pylist() for name in _STATES), strict=True))
    for i, record in enumerate(records):
        if states[i][0] is None:
            states[i] = _called(hook, record, context, fields)
    made = {field: _column(batch.schema.field(field), records, states) for field in fields}
    made |= {name: pa.array([state[i] for state in states], MAPPED.field(name).type) for i, name in enumerate(_STATES)}
    if CLEARED in batch.schema.names:
        made[CLEARED] = _still_cleared(batch[CLEARED].to_pylist(), records)
    return pa.table([made.get(name, batch[name]) for name in batch.schema.names], schema=batch.schema)


def _still_cleared(cleared: list[list[str] | None], records: list[Record]) -> pa.Array:
    """What is to be emptied, but for what on_before filled."""
    left = [
        names and ([name for name in names if record.get(name) is None] or None)
        for names, record in zip(cleared, records, strict=True)
    ]
    return pa.array(left, pa.list_(pa.string()))


def _called(hook: Callable[..., Any], record: Record, context: SetContext, fields: list[str]) -> State:
    context.skip(None)
    try:
        answer = hook(record, context)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the state of its row
        return "error", f"on_before: {said(error)}", SCRIPT_ERROR
    if answer is False or context.skipped is not None:
        return "skipped", clean(context.skipped or "skipped by on_before"), None
    if isinstance(answer, dict) and answer is not record:
        return "error", "on_before: returns another row instead of changing the one that it got", SCRIPT_ERROR
    stray = next((name for name in record if name not in fields), None)
    if stray is not None:
        return "error", f"on_before: sets {clean(stray)}, which is no field of the transform", SCRIPT_ERROR
    return _UNTOUCHED


def _column(field: pa.Field, records: list[Record], states: list[State]) -> pa.Array:
    """The values of a field; one that is not of its type makes its row an error."""
    values = [_value(record.get(field.name)) for record in records]
    made = _exact(values, field.type)
    if made is None:
        made = pa.array([_fitting(i, value, field, states) for i, value in enumerate(values)], field.type)
    return made


def _exact(values: list[object], kind: pa.DataType) -> pa.Array | None:
    """The values as they are, or None: Arrow would make 2 of 2.5, and a day in 1970 of 5."""
    try:
        made = pa.array(values, kind)
        finite = not pa.types.is_floating(kind) or pc.all(pc.is_finite(made)).as_py() is not False
        return made if finite and made.to_pylist() == values else None
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return None


def _value(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is not None:
        with suppress(OverflowError):  # beyond the year 9999: no value of the field
            return value.astimezone(UTC).replace(tzinfo=None)
    return None if isinstance(value, str) and not value else value


def _fitting(i: int, value: object, field: pa.Field, states: list[State]) -> object:
    if _exact([value], field.type) is not None:
        return value
    if states[i][0] is None:
        comment = f"{field.name}: on_before sets {clean(repr(value))[:80]}, which is not of type {field.type}"
        states[i] = ("error", comment, INVALID_VALUE)
    return None


def run_after(config: ImportConfig, mapped: Path, rows_file: Path, context: SetContext) -> None:
    """Call ``on_after(row, context)`` for each row of an applied set that is in the target, in order.

    ``row`` holds the fields, ``sys_import_row``, and what became of it: the other columns of `contract.ROWS`.
    Called again by a retry where the job was not completed. Raises ``TransformFailed``.
    """
    hook = _hook(config, "on_after")
    if hook is None:
        return
    run_start(config, context)
    statement = f"""
        SELECT * FROM (SELECT * EXCLUDE ({", ".join(_STATES)}) FROM {parquet(mapped)})
        JOIN {parquet(rows_file)} USING (sys_import_row)
        WHERE sys_import_state IN ('inserted', 'updated', 'ignored') ORDER BY sys_import_row
    """  # noqa: S608
    with workbench() as (connection, folder):
        connection.execute(f"COPY ({statement}) TO {literal(str(folder / 'rows.parquet'))} (FORMAT parquet)")
        with pq.ParquetFile(folder / "rows.parquet") as file:
            for row in (row for batch in file.iter_batches(_BATCH) for row in batch.to_pylist()):
                try:
                    hook(row, context)
                except Exception as error:
                    raise _failed(config, "on_after", context, error, row["sys_import_row"]) from error


def run_complete(config: ImportConfig, counters: Counters, context: SetContext) -> None:
    """Call ``on_complete(context, counters)`` of a set whose rows are all dealt with. Raises ``TransformFailed``."""
    hook = _hook(config, "on_complete")
    if hook is None:
        return
    run_start(config, context)
    try:
        hook(context, counters)
    except Exception as error:
        raise _failed(config, "on_complete", context, error) from error
