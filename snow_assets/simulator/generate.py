"""The rows of a simulated instance, from a seed: the same seed, clock and counts give the same rows.

``generate`` returns stored values as flat strings, keyed by each row's real class. Empty values are left out. The
data is awkward on purpose: unicode and control-ish characters, dangling references, values that are no sys_id
(``global``, ``glide.maint``), long ties on ``sys_created_on`` and ``sys_updated_on``, half-filled columns.
"""

from __future__ import annotations

import difflib
import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from snow_assets.simulator.generate_activity import attachment_bytes, make_activity
from snow_assets.simulator.generate_cmdb import CI_CLASSES, make_cmdb
from snow_assets.simulator.generate_content import make_content
from snow_assets.simulator.generate_people import ADMIN_ID, make_people
from snow_assets.simulator.generate_platform import make_platform
from snow_assets.simulator.generate_rows import Row, Source
from snow_assets.simulator.generate_tasks import TASK_CLASSES, make_tasks

__all__ = ["ADMIN_ID", "DEFAULT_ROWS", "attachment_bytes", "generate"]

DEFAULT_ROWS: dict[str, int] = {
    "core_company": 30,
    "cmn_location": 40,
    "cmn_department": 12,
    "sys_user": 500,
    "sys_user_group": 40,
    "sys_user_grmember": 900,
    **dict.fromkeys(CI_CLASSES, 0),
    "cmdb_ci": 250,
    "cmdb_ci_computer": 250,
    "cmdb_ci_server": 60,
    "cmdb_ci_linux_server": 200,
    "cmdb_ci_win_server": 140,
    "cmdb_ci_netgear": 60,
    "cmdb_ci_appl": 80,
    "cmdb_ci_db_mysql_instance": 40,
    "cmdb_ci_db_mssql_instance": 30,
    "cmdb_ci_db_ora_instance": 20,
    "cmdb_ci_service": 40,
    "cmdb_ci_service_auto": 20,
    "cmdb_model": 40,
    "cmdb_rel_ci": 1200,
    "alm_asset": 120,
    "ast_contract": 15,
    "task": 20,
    "incident": 1000,
    "problem": 120,
    "change_request": 250,
    "incident_task": 80,
    "change_task": 200,
    "sc_cat_item": 120,
    "kb_knowledge": 180,
    "sys_journal_field": 2500,
    "sys_attachment": 80,
    "sys_audit": 600,
    "sys_audit_delete": 60,
    "syslog": 400,
    "svc_ci_assoc": 200,
}
"""How many rows a table has when nothing is asked for: rows of exactly that class, its children not counted."""


def generate(rows: Mapping[str, int], seed: int, now: datetime) -> dict[str, list[Row]]:
    """All tables of an instance.

    Args:
        rows: how many rows of which class; classes left out have ``DEFAULT_ROWS``.
        seed: any integer; each table has a random stream of its own, derived from it.
        now: what "today" means to the dates; UTC where it has no zone.

    Raises:
        ValueError: a count is negative, or a class is unknown or not generated (the message says which are).
    """
    counts = _counts(rows)
    source = Source(seed, now)
    with _without_collector():
        people = make_people(source, counts)
        tables = dict(people.tables)
        tables |= make_cmdb(source, counts, people)
        items = [row["sys_id"] for name in CI_CLASSES for row in tables.get(name, ())]
        services = [
            row["sys_id"] for name in ("cmdb_ci_service", "cmdb_ci_service_auto") for row in tables.get(name, ())
        ]
        tables |= make_tasks(source, counts, people, items, services)
        tables |= make_content(source, counts, people)
        tables |= make_activity(source, counts, people, tables)
        tables |= make_platform()
    return tables


def _counts(rows: Mapping[str, int]) -> dict[str, int]:
    for table, count in rows.items():
        if table not in DEFAULT_ROWS:
            near = difflib.get_close_matches(table, DEFAULT_ROWS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(DEFAULT_ROWS))}"
            raise ValueError(f"cannot generate rows of {table!r}{hint}")
        if count < 0:
            raise ValueError(f"{table} cannot have {count} rows")
    counts = DEFAULT_ROWS | dict(rows)
    if "sys_journal_field" not in rows:
        tasks = sum(counts[name] for name in TASK_CLASSES)
        counts["sys_journal_field"] = min(20_000, 3 * tasks // 2)
    return counts


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of new dicts would trigger the cyclic collector again and again, for nothing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
