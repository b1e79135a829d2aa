"""The first step of an import: its source into import sets. Loads of one import never overlap."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

from snow_assets.config_imports import ImportConfig
from snow_assets.errors import LoadUnfinished
from snow_assets.imports import hierarchy
from snow_assets.imports.books_records import LoadRecord, SetRecord
from snow_assets.imports.books_retention import prune
from snow_assets.imports.mapping import check_transform
from snow_assets.imports.partition import dealer
from snow_assets.imports.sources import Source
from snow_assets.imports.staging import SetFiles, StagedRows, discard, write_errors
from snow_assets.imports.workspace import Workspace
from snow_assets.pulls.plan import plan_id_of

OnSet = Callable[[LoadRecord, SetRecord], None]


def stage(
    config: ImportConfig,
    workspace: Workspace,
    *,
    context: str | None = None,
    new: bool = False,
    on_set: OnSet | None = None,
) -> LoadRecord:
    """Load the source into import sets. ``on_set`` is told of each that is ready: with a size, when it is full.

    ``context``: the execution context that this import starts in (default: the one that waits for it, else a new one).
    ``new`` gives an older load up that is not finished. What finished loads staged goes after ``keep``.

    Raises:
        ConfigError, SourceError: what is declared cannot be read; found early, nothing is written.
        LoadUnfinished: an older load is not finished, another run loads, or the import before it is not finished.
    """
    with workspace.loading(config.name), closing(workspace.source(config)) as source:
        rows = StagedRows(source.batches(), dealer(config))
        check_transform(config, rows.schema)
        dead = [each for each in workspace.books.loads(config.name) if each.state == "loading"]
        load = _started(config, workspace, context, new=new)
        for each in dead:
            _discard(workspace, each)
        try:
            done = _loaded(config, workspace, load, source, rows, on_set)
        except BaseException as error:
            workspace.books.load_failed(load, str(error) or type(error).__name__)
            _discard(workspace, load)
            raise
        prune(workspace, timedelta(seconds=config.keep), config.name)
        return done


def _started(config: ImportConfig, workspace: Workspace, context: str | None, *, new: bool) -> LoadRecord:
    books = workspace.books
    if context is not None:
        hierarchy.check_released(books, context, config.name)
    elif new:
        books.check_idle(config.name, workspace.is_worked_on)  # before its hierarchy is given up
    own = context or hierarchy.enter(books, workspace.settings, config.name, new=new)
    try:
        load_id = plan_id_of(datetime.now(UTC))
        load = books.start_load(config, load_id, own, new=new, alive=workspace.is_worked_on)
        hierarchy.start(books, own, load)
    except LoadUnfinished:
        if context is None:
            hierarchy.abandon(books, own, config.name)
        raise
    return load


def _loaded(
    config: ImportConfig, workspace: Workspace, load: LoadRecord, source: Source, rows: StagedRows, on_set: OnSet | None
) -> LoadRecord:
    books, folder, size = workspace.books, workspace.folder(load), config.partition.size
    staged: list[tuple[int, int]] = []

    def sealed(set_no: int, count: int) -> None:
        if not config.overlaps:
            staged.append((set_no, count))  # their jobs come together, when all rows are there
            return
        _told(load, books.add_set(load, set_no, count), on_set)

    with SetFiles(folder, rows.schema, size=size, sealed=sealed) as files:
        for batch, sets in rows:
            files.add(batch, sets)
        files.seal()
    write_errors(folder, source.rejected())
    made = [books.add_set(load, set_no, count) for set_no, count in staged]
    done = books.loaded(load, files.rows, source.rejected_rows)
    for record in made:
        _told(done, record, on_set)
    ended = books.last_ended(done)
    if ended is not None:
        books.last(done, ended)  # sets of a size may all have been transformed by now
    return done


def _told(load: LoadRecord, record: SetRecord, on_set: OnSet | None) -> None:
    if on_set is not None:
        on_set(load, record)


def _discard(workspace: Workspace, load: LoadRecord) -> None:
    """Remove what a load staged of which nothing was applied, nor is being applied."""
    sets = workspace.books.sets(load)
    if not any(each.state == "processed" or workspace.is_worked_on(load, each.set_no) for each in sets):
        discard(workspace.folder(load))
