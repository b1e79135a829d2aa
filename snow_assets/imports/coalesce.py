"""Coalesce: what becomes of each row of an import set, as if its rows were applied one by one in their order.

Rows with the same key are a group, numbered by its first row. The group's record is looked up once; from there each
row is compared with what the rows before it have made of the record. All of it is SQL over temporary tables:

``snow_keys``     a group: ``snow_k``, its last row, its number of rows, its key
``snow_members``  which row belongs to which group, and the row before it there
``snow_matched``  the groups' records as they are in the target
``snow_heads``    hashes of them, which tell what differs without a look at the values
``snow_carried``  what the rows before a row have said last of fields that not every row fills
``snow_states``   what becomes of each row
``snow_records``  a record of each group: its sys_id, whether it was found, how many rows change it
``snow_versions`` (a view) the record after each row
``snow_insert``, ``snow_update`` (views) what is to be written
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from snow_assets.config_imports import CoalesceConfig
from snow_assets.imports.coalesce_rows import ROWS_TABLE, Field, mark
from snow_assets.imports.contract import INVALID_TARGET, MappedSet
from snow_assets.imports.targets.writer import KeyColumn, Match, TableShape, Writer, fold
from snow_assets.pulls.workspace import literal, quoted

UNCHANGED: Final = "No field values changed"
_LIVE: Final = "state IS NULL"


@dataclass(frozen=True)
class Task:
    """An import set on its way into a table. ``domain``: None where the table has no ``sys_domain``."""

    mapped: MappedSet
    table: str
    shape: TableShape
    fields: Sequence[Field]
    coalesce: CoalesceConfig
    domain: str | None
    now: datetime  # UTC

    @property
    def keys(self) -> list[Field]:
        """The fields of the key; a row that names its own record is known by it where none are declared."""
        names = self.coalesce.fields or ("sys_id",)
        return [field for name in names for field in self.fields if field.name == name]

    @property
    def own_where_empty(self) -> bool:
        """Whether a row with an empty key is a record of its own."""
        return self.coalesce.create_on_empty or not self.coalesce.fields

    @property
    def by_sys_id(self) -> bool:
        """Whether the key is the sys_id alone."""
        return [field.name for field in self.keys] == ["sys_id"]

    @property
    def values(self) -> list[Field]:
        """The fields that an update may change."""
        return [field for field in self.fields if field.name != "sys_id"]

    def sys_id_of(self, row: str, salt: str = "") -> str:
        """SQL of the sys_id that a row gives to a record which has none: always the same one."""
        prefix = literal(f"{self.mapped.load_key}/")
        return f"md5({prefix} || {row}{f' || {literal(salt)}' if salt else ''})"


def moment(now: datetime) -> str:
    """A time as SQL, to the second."""
    return f"TIMESTAMP {literal(now.strftime('%Y-%m-%d %H:%M:%S'))}"


def plan(writer: Writer, task: Task) -> None:
    """Work out ``snow_steps``, ``snow_insert`` and ``snow_update`` from the rows that are to be applied."""
    skip_empty(writer, task)
    while True:
        _group(writer, task)
        _match(writer, task)
        _step(writer, task)
        if not _refuse_sys_ids(writer, task):
            break
    _changes(writer, task)


def skip_empty(writer: Writer, task: Task) -> None:
    """Rows with an empty key are skipped, where the rule says so."""
    keys = task.keys
    if task.own_where_empty or task.coalesce.empty == "match":
        return
    empty = [(field, f"{field.value(field.column)} IS NULL") for field in keys]
    named = ", ".join(f"CASE WHEN {test} THEN {literal(field.name)} END" for field, test in empty)
    where = " OR ".join(test for _, test in empty)
    query = f"SELECT r, concat_ws(', ', {named}) || ' is empty' AS note FROM {ROWS_TABLE} WHERE {where}"  # noqa: S608
    mark(writer.bench, query, "skipped", None)


def _normal(task: Task, field: Field) -> str:
    value = field.value(field.column)
    return fold(value) if field.text and not task.coalesce.case_sensitive else value


def _group(writer: Writer, task: Task) -> None:
    keys = [_normal(task, field) for field in task.keys]
    execute = writer.bench.execute
    empty = " OR ".join(f"{key} IS NULL" for key in keys) or "true"
    own = empty if task.own_where_empty else "false"
    named = "".join(f", {key} AS key_{at}" for at, key in enumerate(keys, 1))
    execute(
        "CREATE OR REPLACE TEMP TABLE snow_keys AS SELECT min(r) AS snow_k, max(r) AS last, count(*) AS rows"  # noqa: S608
        f"{named} FROM {ROWS_TABLE} WHERE {_LIVE} AND NOT ({own}) GROUP BY ALL"
    )
    same = "IS NOT DISTINCT FROM" if task.coalesce.empty == "match" else "="
    joined = " AND ".join(f"{key} {same} g.key_{at}" for at, key in enumerate(keys, 1)) or "false"
    execute(
        "CREATE OR REPLACE TEMP TABLE snow_members AS "  # noqa: S608
        f"WITH grouped AS (SELECT r, h, g.snow_k, g.last, g.rows FROM {ROWS_TABLE} JOIN snow_keys g ON {joined} "
        f"WHERE {_LIVE} AND NOT ({own})) SELECT r, snow_k, r = last AS last, false AS own, NULL AS before, "
        "false AS differs, h FROM grouped WHERE rows = 1 UNION ALL SELECT r, snow_k, r = last, false, lag(r) OVER w, "
        "h <> lag(h) OVER w, h FROM grouped WHERE rows > 1 WINDOW w AS (PARTITION BY snow_k ORDER BY r) "
        f"UNION ALL SELECT r, r, true, true, NULL, false, h FROM {ROWS_TABLE} WHERE {_LIVE} AND ({own})"
    )


def _match(writer: Writer, task: Task) -> None:
    bench = writer.bench
    columns = [field.name for field in task.values]
    columns += [name for name in ("sys_mod_count", "sys_domain") if name in task.shape.columns]
    keys = [KeyColumn(field.name, field.text, field.text and not task.coalesce.case_sensitive) for field in task.keys]
    nulls = task.coalesce.empty == "match"
    domain = None if task.by_sys_id else task.domain
    if keys:
        writer.match(Match(task.table, "snow_keys", keys, columns, domain, "snow_matched", nulls))
    if not keys or task.mapped.reprocess:
        own = f"SELECT r AS snow_k, {task.sys_id_of('r')} AS key_1 FROM snow_members WHERE own"  # noqa: S608
        wanted = "" if task.mapped.reprocess else " AND false"  # a set that was never applied has made none
        bench.execute(f"CREATE OR REPLACE TEMP TABLE snow_own AS {own}{wanted}")
        into = "snow_matched_own" if keys else "snow_matched"
        key = [KeyColumn("sys_id", text=True)]
        writer.match(Match(task.table, "snow_own", key, columns, task.domain, into))
        if keys:
            bench.execute("INSERT INTO snow_matched SELECT * FROM snow_matched_own")
    if task.by_sys_id and task.domain:
        _refuse_strangers(writer, task)


def _refuse_strangers(writer: Writer, task: Task) -> None:
    """Rows that name a record of another domain."""
    strange = f"coalesce(nullif(t.sys_domain, ''), 'global') <> {literal(task.domain or '')}"
    query = (
        "SELECT m.r, 'sys_id ' || t.sys_id || ' is a record of another domain' AS note "  # noqa: S608
        f"FROM snow_members m JOIN snow_matched t USING (snow_k) WHERE {strange}"
    )
    if mark(writer.bench, query, "error", INVALID_TARGET):
        groups = f"(SELECT t.snow_k FROM snow_matched t WHERE {strange})"  # noqa: S608
        writer.bench.execute(f"DELETE FROM snow_members WHERE snow_k IN {groups}")  # noqa: S608


def _step(writer: Writer, task: Task) -> None:
    """Each row's state, and each group's record."""
    _carry(writer, task)
    partial = any(not field.full for field in task.values)
    carried = "JOIN snow_carried c USING (r) LEFT JOIN snow_matched t USING (snow_k)" if partial else ""
    known = (
        "false" if partial else "m.differs"
    )  # what differs as a whole is told by its hash; what is alike is compared
    _heads(writer, task, partial)
    writer.bench.execute(f"""
CREATE OR REPLACE TEMP TABLE snow_states AS
SELECT m.r, m.snow_k AS k, 'inserted' AS state FROM snow_members m ANTI JOIN snow_matched t USING (snow_k)
WHERE m.before IS NULL
UNION ALL
SELECT m.r, m.snow_k, 'updated' FROM snow_members m JOIN snow_heads d USING (snow_k)
WHERE m.before IS NULL AND m.h <> d.h
UNION ALL
SELECT m.r, m.snow_k, CASE WHEN {_changed(task, True)} THEN 'updated' ELSE 'ignored' END
FROM snow_members m JOIN snow_heads d ON d.snow_k = m.snow_k JOIN {ROWS_TABLE} w ON w.r = m.r
JOIN snow_matched t ON t.snow_k = m.snow_k WHERE m.before IS NULL AND (d.h IS NULL OR m.h = d.h)
UNION ALL
SELECT m.r, m.snow_k, 'updated' FROM snow_members m WHERE m.before IS NOT NULL AND {known}
UNION ALL
SELECT m.r, m.snow_k, CASE WHEN {_changed(task, False)} THEN 'updated' ELSE 'ignored' END
FROM snow_members m JOIN {ROWS_TABLE} w USING (r) JOIN {ROWS_TABLE} p ON p.r = m.before {carried}
WHERE m.before IS NOT NULL AND NOT {known}
""")  # noqa: S608
    given = next((field for field in task.fields if field.name == "sys_id"), None)
    named = f"nullif(w.{given.value(given.column)}, ''), " if given else ""
    salt = f"/{task.mapped.attempt}" if task.mapped.reprocess else ""  # the record of a row may have another key now
    made = task.sys_id_of("g.k", salt)
    if salt:
        made = f"CASE WHEN m.own THEN {task.sys_id_of('g.k')} ELSE {made} END"
    mods = "t.sys_mod_count" if "sys_mod_count" in task.shape.columns else "0"
    writer.bench.execute(f"""
CREATE OR REPLACE TEMP TABLE snow_records AS
SELECT g.k, g.last, g.changes, t.snow_k IS NOT NULL AS found, {mods} AS mods,
       coalesce(t.sys_id, {named}{made}) AS sys_id
FROM (SELECT k, max(r) AS last, count_if(state = 'updated') AS changes FROM snow_states GROUP BY k) g
{"JOIN snow_members m ON m.r = g.k" if salt else ""} {f"JOIN {ROWS_TABLE} w ON w.r = g.k" if given else ""}
LEFT JOIN snow_matched t ON t.snow_k = g.k
""")  # noqa: S608
    values = "".join(f", {_after(task, field)} AS a{at}" for at, field in enumerate(task.values))
    before = "JOIN snow_members m USING (r) LEFT JOIN snow_carried c USING (r) LEFT JOIN snow_matched t USING (snow_k)"
    writer.bench.execute(
        f"CREATE OR REPLACE TEMP VIEW snow_versions AS SELECT w.r{values} "  # noqa: S608
        f"FROM {ROWS_TABLE} w {before if partial else ''}"
    )


def _heads(writer: Writer, task: Task, partial: bool) -> None:
    """``snow_heads``: of each record that was found a hash as rows have it, null where rows hash something else."""
    alike = not partial and all(task.shape.columns[field.name].type == field.type for field in task.values)
    current = f"hash({', '.join(map(_current, task.values)) or '0'})" if alike else "NULL::UBIGINT"
    writer.bench.execute(
        f"CREATE OR REPLACE TEMP TABLE snow_heads AS SELECT snow_k, {current} AS h FROM snow_matched t"  # noqa: S608
    )


def _carry(writer: Writer, task: Task) -> None:
    fields = [(at, field) for at, field in enumerate(task.values) if not field.full]
    if not fields:
        return
    said = ", ".join(f"last_value({field.column} IGNORE NULLS) OVER before AS p{at}" for at, field in fields)
    writer.bench.execute(
        f"CREATE OR REPLACE TEMP TABLE snow_carried AS SELECT r, {said} "  # noqa: S608
        f"FROM snow_members m JOIN {ROWS_TABLE} USING (r) WHERE NOT (m.before IS NULL AND m.last) WINDOW before AS "
        "(PARTITION BY m.snow_k ORDER BY r ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    )


def _current(field: Field) -> str:
    second = field.name.lower() == "snow_k"  # DuckDB gives a second column of a name another one
    column = "t.snow_k_1" if second else f"t.{quoted(field.name)}"
    return f"nullif({column}, '')" if field.text else column


def _before(field: Field, at: int, first: bool) -> str:
    """SQL of the record's value before a row, which is the first of its group, or is not."""
    if first:
        return _current(field)
    if field.full:
        return field.value(f"p.{field.column}")
    return f"CASE WHEN c.p{at} IS NULL THEN {_current(field)} ELSE {field.value(f'c.p{at}')} END"


def _after(task: Task, field: Field) -> str:
    value = field.value(f"w.{field.column}")
    if field.full:
        return value
    before = _before(field, task.values.index(field), first=False)
    return f"CASE WHEN w.{field.column} IS NOT NULL THEN {value} ELSE {before} END"


def _changed(task: Task, first: bool) -> str:
    tests = []
    for at, field in enumerate(task.values):
        given = "" if field.full else f"w.{field.column} IS NOT NULL AND "
        value, before = field.value(f"w.{field.column}"), _before(field, at, first)
        tests.append(f"({given}{value} IS DISTINCT FROM {before})")
    return " OR ".join(tests) or "false"


def _refuse_sys_ids(writer: Writer, task: Task) -> int:
    """New records whose rows name a sys_id that another record has. Returns how many rows are refused."""
    if task.by_sys_id or not any(field.name == "sys_id" for field in task.fields):
        return 0
    new = "SELECT k AS snow_k, sys_id AS key_1 FROM snow_records WHERE NOT found"
    writer.bench.execute(f"CREATE OR REPLACE TEMP TABLE snow_named AS {new}")
    key = [KeyColumn("sys_id", text=True)]
    writer.match(Match(task.table, "snow_named", key, (), None, "snow_taken"))
    query = (
        "SELECT snow_k AS r, 'sys_id ' || key_1 || ' is another record''s' AS note FROM snow_named "
        "LEFT JOIN snow_taken USING (snow_k) QUALIFY snow_taken.sys_id IS NOT NULL "
        "OR row_number() OVER (PARTITION BY key_1 ORDER BY snow_k) > 1"
    )
    return mark(writer.bench, query, "error", INVALID_TARGET)


def _changes(writer: Writer, task: Task) -> None:
    shape = task.shape.columns
    values = [f"v.a{at} AS {quoted(field.name)}" for at, field in enumerate(task.values)]
    now = moment(task.now)
    new = {"sys_domain": literal(task.domain or ""), "sys_created_on": now, "sys_updated_on": now}
    changed = {"sys_updated_on": now, "sys_mod_count": "coalesce(g.mods, 0) + g.changes"}
    for name, system, where in (
        ("snow_insert", {**new, "sys_mod_count": "g.changes"}, "NOT g.found"),
        ("snow_update", changed, "g.found AND g.changes > 0"),
    ):
        kept = [
            f"CAST({value} AS {shape[column].type}) AS {column}" for column, value in system.items() if column in shape
        ]
        columns = ", ".join(["g.sys_id", *values, *kept])
        writer.bench.execute(
            f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {columns} "  # noqa: S608
            f"FROM snow_records g JOIN snow_versions v ON v.r = g.last WHERE {where}"
        )
