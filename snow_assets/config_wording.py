"""What is said of a wrong value in ``pulls.yaml``: pydantic's findings in our words, and the way out of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LONGEST = 80  # characters of a value that are shown


def shown(value: object) -> str:
    """A value as it would be written on one line of YAML, cut where it is long."""
    text = re.sub(r"//.*@", "//", _flow(value))  # what stands before a host may hold a password
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _flow(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value)


def harmless(value: object) -> object:
    """``value``, but nothing of a map or list, whose parts were not looked at."""
    return "" if isinstance(value, dict | list) else value


def message_of(problem: Mapping[str, Any]) -> str:
    """A problem of pydantic in our words."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", problem["msg"]))
    return str(_MESSAGES.get(kind, problem["msg"])).format(**context)


_MESSAGES = {
    "extra_forbidden": "is not a known key",
    "greater_than_equal": "is less than {ge}",
    "greater_than": "is not more than {gt}",
    "less_than_equal": "is more than {le}",
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "float_parsing": "is not a number",
    "finite_number": "is not a finite number",
    "string_type": "is not text",
    "bool_type": "is neither true nor false",
    "tuple_type": "is not a list",
    "too_short": "is an empty list",
    "literal_error": "is not one of {expected}",
    "model_type": "is not a map",
    "model_attributes_type": "is not a map",
}


def hint_of(location: tuple[str | int, ...], hints: Mapping[str, str]) -> str:
    """How a key is written; ``location`` starts below the pull, import or section."""
    return next((hints[str(part)] for part in reversed(location) if str(part) in hints), "")


PULL_HINTS = {
    "table": "write the name as it stands in the list's URL, such as incident",
    "attachments": "write true, or a map such as {max_size: 25MB, content_types: [application/pdf]}",
    "graph": "write true, or {cis: PULL} in a pull of cmdb_rel_ci",
    "cis": "name the pull of CIs that gives their classes",
    "max_size": "write bytes, or 200kB, 25MB, 1GB",
    "documents": "write true, or a map such as {include_journals: NAME}, NAME being a pull of sys_journal_field",
    "content_template": 'write Jinja2, such as "{{ number }}: {{ short_description }}"',
    "content_fields": "write a list, such as [short_description, close_notes]",
    "content_types": 'write a list, such as [application/pdf, "image/*"]',
    "query": 'write it in quotes on one line, such as "active=true^priorityIN1,2"',
    "fields": "write a list, such as [sys_id, number], or leave it out for all columns",
    "key": "write a list of fields, such as [number]",
    "display_value": "write all, true or false",
    "hidden_rows": "write warn or fail",
    "unreadable_rows": "write fail or skip",
    "schedule": 'write cron and timezone, such as schedule: {cron: "0 2 * * *", timezone: Europe/Berlin}',
    "cron": 'write minute, hour, day, month and weekday, such as "0 2 * * *"',
    "timezone": "write UTC, or an area and city",
    "timeout": "write seconds, or {connect: 10, read: 90}",
    "max_plan_age": "write seconds, or 24h, 90m, 2d",
    "max_wait": "write seconds, or 15m",
    "retry_backoff": "write seconds, such as 1",
    "page_size": "write 1 to 10000",
    "slice_rows": "write 1 or more, or leave it out",
    "slices_per_run": "write 1 to 10000",
    "max_workers": "write 1 to 256",
    "max_retries": "write 0 to 100",
    "repair_attempts": "write 0 to 100",
    "description": "write text in quotes",
    "group": "write letters, digits and _",
    "url": "write https://<instance>.service-now.com",
    "allow_http": "write true or false",
    "proxy": "write http://HOST:PORT; one with user and password belongs into SNOW_PROXY",
    "ca_bundle": "write the path of a file of PEM certificates",
}


IMPORT_HINTS = {
    "name": "rename the import",
    "source": "write one of csv, jsonl, parquet, excel, sql and pull, such as {csv: people.csv}",
    "csv": "write a path or a list of them, such as people-*.csv",
    "jsonl": "write a path or a list of them",
    "parquet": "write a path or a list of them",
    "excel": "write a path or a list of them",
    "database": "name the environment variable that holds the database's URL, such as HR_DATABASE",
    "postgresql": "name the environment variable that holds the database's URL, such as TARGET_DATABASE",
    "pull": "name a pull of pulls.yaml",
    "delimiter": "write one character in quotes",
    "quote": "write one character in quotes",
    "bad_rows": "write reject or fail",
    "servicenow": "write table, import_set or insert_multiple",
    "target": "write the table's name, or a map such as {table: people, duckdb: people.duckdb}",
    "staging": "write a table's name, such as imp_people",
    "table": "write a table's name, such as people",
    "columns": "write a map such as {age: integer}",
    "type": "write string, integer, decimal, float, boolean, date or datetime",
    "nodes": "write 1 to 128",
    "max_import_sets": "write 1 to 1000",
    "max_workers": "write 1 to 256",
    "partition": "write round_robin, {key: COLUMN} or {size: ROWS}",
    "size": "write 1 or more",
    "key": "write a column, or one of {sql: EXPRESSION} and {python: FILE.py:FUNCTION}",
    "choice_action": "write create, ignore or reject",
    "choices": "write a map such as {High: '1', Low: '3'}, both in quotes",
    "on_missing": "write create, ignore or reject",
    "reference": "write a map such as {table: locations, by: name}",
    "hooks": "write a map such as {on_before: hooks.py:before}",
    "fields": "write a map such as {email: Email}",
    "transform": "write a map of fields such as {email: Email}, or one of fields, sql and python",
    "empty": "write skip or match",
    "coalesce": "write a field, a list of them, or a map such as {fields: [email], case_sensitive: true}",
    "parent": "name another import",
    "order": "write a whole number",
    "on_error": "write stop or continue",
    "domain": "write a domain's name",
    "schedule": PULL_HINTS["schedule"],
    "cron": PULL_HINTS["cron"],
    "timezone": PULL_HINTS["timezone"],
    "description": PULL_HINTS["description"],
    "group": PULL_HINTS["group"],
}
