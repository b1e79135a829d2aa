"""The rows of a load that were refused: by the source, by the transform, or by the target; each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import duckdb

from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.contract import Record
from snow_assets.imports.workspace import Workspace
from snow_assets.pulls.workspace import parquet


def rows_in_error(workspace: Workspace, load: LoadRecord, most: int = 100) -> list[Record]:
    """The first rows, in the order of the import sets; those that the source could not give come first.

    Each has ``file``, ``line``, ``row`` (null where it got no number), ``set``, ``code`` and ``message``.
    """
    return list(islice(_all(workspace, load, most), most))


def _all(workspace: Workspace, load: LoadRecord, most: int) -> Iterator[Record]:
    folder = workspace.folder(load)
    if load.rejected and folder.errors.exists():
        yield from _read(
            f"""SELECT sys_import_file AS file, sys_import_line AS line, NULL AS row, NULL AS set, code, message
                FROM {parquet(folder.errors)} ORDER BY ALL LIMIT {most}"""  # noqa: S608
        )
    for each in workspace.books.sets(load):
        rows = folder.rows(each.set_no, each.run.attempt) if each.run and each.run.counters.errors else None
        if rows is None or not rows.exists():
            continue
        yield from _read(
            f"""SELECT sys_import_file AS file, sys_import_line AS line, sys_import_row AS row, {each.set_no} AS set,
                    sys_row_error AS code, sys_import_state_comment AS message
                FROM {parquet(rows)} AS outcomes
                JOIN {parquet(folder.staged(each.set_no))} AS staged USING (sys_import_row)
                WHERE sys_import_state = 'error' ORDER BY sys_import_row LIMIT {most}"""  # noqa: S608
        )


def _read(query: str) -> list[Record]:
    with duckdb.connect() as connection:
        found = connection.execute(query)
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
