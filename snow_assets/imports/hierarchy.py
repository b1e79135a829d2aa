"""Hierarchies: what runs after what is frozen when the root starts, and each import is released by the one before it.

An execution plan is the tree walked in pre-order: a parent, its first child with all below it, its next child. An
import is released once, when all transformer jobs of the import before it have ended; the last of them is noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update

from snow_assets.config_imports import ImportConfig, ImportSettings
from snow_assets.errors import LoadUnfinished, SnowError
from snow_assets.imports.books import Books
from snow_assets.imports.books_database import now, number
from snow_assets.imports.books_records import LoadRecord
from snow_assets.imports.tables import CONTEXTS, EXECUTIONS, LOADS, PLANS

CLOSED = ("completed", "error", "cancelled")
DEAD = ("loading", "cancelled", "error")  # states of a load whose execution may be taken up by another load


def enter(books: Books, settings: ImportSettings, name: str, *, new: bool = False) -> str:
    """The context in which the import starts now; the caller holds its load lock.

    That is the one that waits for it, or whose load of it died; else a new one, with this import as the root.

    Raises:
        LoadUnfinished: a context that began with this import is not finished, and ``new`` is not asked for.
    """
    with books.database.write() as connection:
        waiting = [each for each in _started_or_released(connection, name) if each.position > 0]
        if waiting:
            return str(waiting[-1].execution_context)
        for context in connection.execute(_running(name)).all():
            if not new:
                _refuse_unfinished(connection, context)
            _give_up(connection, context)
        return _freeze(connection, settings, name)


def check_finished(books: Books, name: str) -> None:
    """Raise ``LoadUnfinished`` where a hierarchy that began with the import is not finished. It reads only."""
    if books.database.is_there:
        with books.database.read() as connection:
            for context in connection.execute(_running(name)).all():
                _refuse_unfinished(connection, context)


def check_released(books: Books, context: str, name: str) -> None:
    """Raise ``LoadUnfinished`` where the import may not start in this context."""
    with books.database.read() as connection:
        _startable(connection, context, name)


def _startable(connection: Connection, context: str, name: str) -> Row[Any]:
    found = _execution(connection, context, name)
    if found is not None and found.released is not None and found.state in ("pending", "running"):
        return found
    why = "the import before it in the execution plan is not finished"
    if found is not None and found.state in CLOSED:
        why = f"its turn in the execution plan is over: {found.state}"
    raise LoadUnfinished(why, key="import", value=name, hint=f"see execution context {context}")


def start(books: Books, context: str, load: LoadRecord) -> None:
    """Note that the import starts with this load. Raises ``LoadUnfinished`` where it has not been released."""
    with books.database.write() as connection:
        found = _startable(connection, context, load.name)
        _change(
            connection, found, state="running", concurrent_import_set=load.number, table=load.table_name, started=now()
        )
        nothing_more = found.position + 1
        following = _at(connection, context, nothing_more)
        values = {"next_import": following.scheduled_import if following else None, "next_position": nothing_more}
        _change_context(connection, context, **(values if following else {"next_import": None, "next_position": None}))


def release(books: Books, context: str, name: str, *, failed: bool, stop: bool, job: str | None) -> str | None:
    """Close the import's execution and release the next one in the plan, once; its name, None where none is to start.

    ``failed`` and ``stop``: what follows is cancelled. Called again, it changes nothing and says the same, until the
    next import has started.
    """
    with books.database.write() as connection:
        found = _execution(connection, context, name)
        if found is None:
            return None
        following = _at(connection, context, found.position + 1)
        if found.state in CLOSED:
            waits = following is not None and following.state == "pending" and following.released is not None
            return str(following.scheduled_import) if waits and following is not None else None
        _change(connection, found, state="error" if failed else "completed", completed=now())
        if failed and stop:
            _cancel_after(connection, context, found.position)
            _change_context(connection, context, state="error", completed=now(), next_import=None, next_position=None)
            return None
        if following is None or following.state != "pending":  # the last; or taken up again after all that follows ran
            _complete(connection, context)
            return None
        _change(connection, following, released=now(), started_by=job)
        return str(following.scheduled_import)


@contextmanager
def chain_stopped(books: Books, config: ImportConfig, context: str | None) -> Iterator[None]:
    """Where the source of a child cannot be loaded, its execution fails: what follows is cancelled, or goes on.

    Where somebody else is at the child it is theirs to go on.
    """
    try:
        yield
    except LoadUnfinished:
        raise
    except SnowError:
        if context:
            release(books, context, config.name, failed=True, stop=config.on_error == "stop", job=None)
        raise


def take_up(books: Books, context: str) -> str | None:
    """The import with which a hierarchy goes on: one that may start, or whose loading failed and stopped the rest."""
    with books.database.write() as connection:
        own = select(EXECUTIONS, LOADS.c.load_completed.label("loaded")).join_from(
            EXECUTIONS, LOADS, LOADS.c.number == EXECUTIONS.c.concurrent_import_set, isouter=True
        )
        rows = connection.execute(own.where(EXECUTIONS.c.execution_context == context).order_by(EXECUTIONS.c.position))
        for found in rows.all():
            if found.state == "pending" and found.released is not None:
                return str(found.scheduled_import)
            if found.state == "error" and found.loaded is None:
                _revive(connection, found)
                return str(found.scheduled_import)
        return None


def stopped_after(books: Books, context: str, name: str) -> str | None:
    """The import behind ``name`` in the plan that began and did not end, or whose failure ended the hierarchy."""
    with books.database.read() as connection:
        executions = _executions(connection, context)
        positions = [each.position for each in executions if each.scheduled_import == name]
        cancelled = any(each.state == "cancelled" for each in executions)
        states = {"running", "error"} if cancelled else {"running"}
        behind = [each for each in executions if each.position > min(positions, default=-1) and each.state in states]
        return str(behind[0].scheduled_import) if behind else None


def failed_to_load(books: Books, name: str) -> str | None:
    """The context in which the newest execution of the import failed before it had a load; it may start there again.

    None where it did not.
    """
    with books.database.read() as connection:
        own = select(EXECUTIONS).where(EXECUTIONS.c.scheduled_import == name)
        found = connection.execute(own.order_by(EXECUTIONS.c.execution_context.desc())).first()
    if found is None or found.position == 0 or found.state != "error" or found.concurrent_import_set is not None:
        return None
    return str(found.execution_context)


def reopen(books: Books, context: str, name: str) -> bool:
    """An import that failed, and stopped what follows, is taken up again: what was cancelled waits again.

    False where there is nothing to take up: it was completed before.
    """
    with books.database.write() as connection:
        found = _execution(connection, context, name)
        if found is None or found.state not in ("error", "cancelled"):
            return False
        _revive(connection, found)
        return True


def abandon(books: Books, context: str, name: str) -> None:
    """Close a context whose root could not start, where nothing of it has."""
    with books.database.write() as connection:
        found = _execution(connection, context, name)
        if found is not None and found.position == 0 and found.state == "pending":
            _cancel_after(connection, context, -1)
            _change_context(connection, context, state="error", completed=now(), next_import=None, next_position=None)


def _freeze(connection: Connection, settings: ImportSettings, name: str) -> str:
    context, made = number(connection, "EXEC"), now()
    plan = list(settings.plan(name))
    connection.execute(
        insert(CONTEXTS).values(
            number=context, scheduled_import=name, next_import=name, next_position=0, state="running",
            sys_created_on=made,
        )
    )  # fmt: skip
    for position, (config, depth) in enumerate(plan):
        connection.execute(
            insert(PLANS).values(
                execution_context=context, position=position, scheduled_import=config.name,
                parent=config.parent if position else None, order=config.order, depth=depth,
            )
        )  # fmt: skip
        connection.execute(
            insert(EXECUTIONS).values(
                execution_context=context, position=position, scheduled_import=config.name, state="pending",
                released=None if position else made,
            )
        )  # fmt: skip
    return context


def _started_or_released(connection: Connection, name: str) -> list[Row[Any]]:
    """Executions of the import that wait for it, or whose load died."""
    loads = LOADS.c.number == EXECUTIONS.c.concurrent_import_set
    query = (
        select(EXECUTIONS, LOADS.c.state.label("load_state"))
        .join_from(EXECUTIONS, LOADS, loads, isouter=True)
        .where(EXECUTIONS.c.scheduled_import == name, EXECUTIONS.c.released.is_not(None))
        .order_by(EXECUTIONS.c.execution_context)
    )
    rows = connection.execute(query).all()
    return [row for row in rows if row.state == "pending" or (row.state == "running" and row.load_state in DEAD)]


def _running(name: str) -> Select[Any]:
    """The contexts that began with this import and are not finished."""
    return select(CONTEXTS).where(CONTEXTS.c.scheduled_import == name, CONTEXTS.c.state == "running")


def _refuse_unfinished(connection: Connection, context: Row[Any]) -> None:
    root = _at(connection, context.number, 0)
    loads = select(LOADS.c.state).where(LOADS.c.number == root.concurrent_import_set) if root is not None else None
    state = connection.execute(loads).scalar() if loads is not None else None
    barely = root is None or root.state == "pending" or (root.state == "running" and state in DEAD)
    if not barely:
        name, up_to = context.scheduled_import, context.next_import or "its last import"
        begun = [each for each in _executions(connection, context.number) if each.state == "running"]
        at = begun[0].scheduled_import if begun else name
        hint = f"snow-assets imports resume {at} goes on with it; imports run {name} --new gives it up"
        raise LoadUnfinished(
            f"its hierarchy {context.number} is not finished ({up_to})", key="import", value=name, hint=hint
        )


def _give_up(connection: Connection, context: Row[Any]) -> None:
    _cancel_after(connection, context.number, -1)
    _change_context(connection, context.number, state="error", completed=now(), next_import=None, next_position=None)


def _revive(connection: Connection, found: Row[Any]) -> None:
    """An execution that failed may start again, and what was cancelled for it waits again."""
    context = found.execution_context
    _change(connection, found, state="pending", completed=None)
    revived = update(EXECUTIONS).where(
        EXECUTIONS.c.execution_context == context,
        EXECUTIONS.c.position > found.position,
        EXECUTIONS.c.state == "cancelled",
    )
    connection.execute(revived.values(state="pending", released=None, completed=None))
    _change_context(connection, context, state="running", completed=None)


def _complete(connection: Connection, context: str) -> None:
    """Close a context in which nothing waits or runs."""
    left = EXECUTIONS.c.execution_context == context, EXECUTIONS.c.state.in_(("pending", "running"))
    if connection.execute(select(EXECUTIONS.c.position).where(*left)).first():
        return
    errors = select(EXECUTIONS.c.position).where(
        EXECUTIONS.c.execution_context == context, EXECUTIONS.c.state == "error"
    )
    state = "error" if connection.execute(errors).first() else "completed"
    _change_context(connection, context, state=state, completed=now(), next_import=None, next_position=None)


def _cancel_after(connection: Connection, context: str, position: int) -> None:
    open_ones = update(EXECUTIONS).where(
        EXECUTIONS.c.execution_context == context,
        EXECUTIONS.c.position > position,
        EXECUTIONS.c.state.in_(("pending", "running")),
    )
    connection.execute(open_ones.values(state="cancelled", completed=now()))


def _execution(connection: Connection, context: str, name: str) -> Row[Any] | None:
    own = (EXECUTIONS.c.execution_context == context) & (EXECUTIONS.c.scheduled_import == name)
    return connection.execute(select(EXECUTIONS).where(own)).first()


def _executions(connection: Connection, context: str) -> Sequence[Row[Any]]:
    own = EXECUTIONS.c.execution_context == context
    return connection.execute(select(EXECUTIONS).where(own).order_by(EXECUTIONS.c.position)).all()


def _at(connection: Connection, context: str, position: int) -> Row[Any] | None:
    own = (EXECUTIONS.c.execution_context == context) & (EXECUTIONS.c.position == position)
    return connection.execute(select(EXECUTIONS).where(own)).first()


def _change(connection: Connection, found: Row[Any], **values: Any) -> None:
    own = EXECUTIONS.c.execution_context == found.execution_context, EXECUTIONS.c.position == found.position
    connection.execute(update(EXECUTIONS).where(*own).values(**values))


def _change_context(connection: Connection, context: str, **values: Any) -> None:
    connection.execute(update(CONTEXTS).where(CONTEXTS.c.number == context).values(**values))
