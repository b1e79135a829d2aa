"""The Aggregate API: counts and figures of a table, whole or in groups (``/api/now/stats/{table}``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snow_assets.simulator.access import Access
from snow_assets.simulator.dictionary import NUMBER_TYPES
from snow_assets.simulator.display import shower
from snow_assets.simulator.operands import converter, getter
from snow_assets.simulator.query import Query, QueryForbiddenError
from snow_assets.simulator.select import matching, select
from snow_assets.simulator.store import Row
from snow_assets.simulator.tables import UNREADABLE, understood
from snow_assets.simulator.wire import Asked, Reply, failure, json_reply

_FIGURES = ("avg", "min", "max", "sum")
_HAVING: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def statistics(access: Access, asked: Asked, table: str) -> Reply:
    """``GET /api/now/stats/{table}``. Row ACLs do not apply: a count may exceed what lists return."""
    if not access.store.has(table):
        return failure(400, f"Invalid table {table}")
    knobs = access.knobs
    if {table, "*"} & knobs.denied_aggregates or table in knobs.denied_tables | knobs.closed_tables:
        return failure(403, UNREADABLE[0], f"No permission to read table '{table}'")
    wanted = {figure: _names(asked, f"sysparm_{figure}_fields") for figure in _FIGURES}
    groups = [name for name in _names(asked, "sysparm_group_by") if access.store.columns.resolve(table, name)]
    used = [*groups, *(name for names in wanted.values() for name in names)]
    if access.hidden_fields(table) & set(used):
        return failure(403, *UNREADABLE)
    try:
        query = understood(access, asked, table)
    except QueryForbiddenError:
        return failure(403, *UNREADABLE)
    counted = asked.flag("sysparm_count")
    figures = {
        name: [one for one in names if access.store.columns.resolve(table, one)] for name, names in wanted.items()
    }
    if not groups:
        document: Any = {"stats": _whole(access, table, query, figures, counted=counted)}
    else:
        document = _grouped(access, asked, table, matching(table, query, access.store), groups, figures, counted)
    reply = json_reply({"result": document}, kind="count", table=table)
    reply.delivery.delay = access.duration(0, 0, True)
    return reply


def _names(asked: Asked, parameter: str) -> list[str]:
    return [name.strip() for name in asked.params.get(parameter, "").split(",") if name.strip()]


def _whole(
    access: Access, table: str, query: Query, figures: Mapping[str, Sequence[str]], *, counted: bool
) -> dict[str, Any]:
    if counted and not any(figures.values()):
        return {"count": str(select(table, query, access.scope, 0, 0).count)}
    return _stats(access, table, matching(table, query, access.store), figures, counted=counted)


def _stats(
    access: Access, table: str, rows: Sequence[Row], figures: Mapping[str, Sequence[str]], *, counted: bool
) -> dict[str, Any]:
    stats: dict[str, Any] = {"count": str(len(rows))} if counted else {}
    for figure, names in figures.items():
        if names:
            stats[figure] = {name: _figure(access, table, figure, name, rows) for name in names}
    return stats


def _figure(access: Access, table: str, figure: str, name: str, rows: Sequence[Row]) -> str:
    path = access.store.columns.resolve(table, name)
    if path is None:
        return ""
    stored = getter(path, access.store)
    texts = [text for row in rows if (text := stored(row))]
    if not texts:
        return ""
    convert = converter(path.column.type)
    if figure in ("min", "max"):
        return (min if figure == "min" else max)(texts, key=convert)
    if path.column.type not in NUMBER_TYPES:
        return "0"
    total = sum(float(convert(text)) for text in texts)
    if figure == "avg":
        return f"{total / len(texts):.4f}"
    return f"{total:g}" if total != int(total) else str(int(total))


def _grouped(
    access: Access,
    asked: Asked,
    table: str,
    rows: Sequence[Row],
    groups: Sequence[str],
    figures: Mapping[str, Sequence[str]],
    counted: bool,
) -> list[dict[str, Any]]:
    paths = [path for name in groups if (path := access.store.columns.resolve(table, name))]
    getters = [getter(path, access.store) for path in paths]
    shows = [shower(path.column, access.store, access.viewer) for path in paths]
    by_key: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_key.setdefault(tuple(stored(row) for stored in getters), []).append(row)
    having, order = asked.params.get("sysparm_having", ""), asked.params.get("sysparm_order_by", "")
    kept = [(key, found) for key, found in sorted(by_key.items()) if _passes(access, table, found, having)]
    _arrange(access, table, kept, order, groups)
    mode = asked.params.get("sysparm_display_value", "false").lower()
    return [
        {
            "stats": _stats(access, table, found, figures, counted=counted),
            "groupby_fields": [
                _group_field(name, value, show(value, found[0]), mode)
                for name, value, show in zip(groups, key, shows, strict=True)
            ],
        }
        for key, found in kept
    ]


def _group_field(name: str, value: str, shown: str, mode: str) -> dict[str, str]:
    if mode == "all":
        return {"field": name, "value": value, "display_value": shown}
    return {"field": name, "value": shown if mode == "true" else value}


def _passes(access: Access, table: str, rows: Sequence[Row], having: str) -> bool:
    """``count^priority^>^3``: aggregate, column, operator, number; several parted by commas must all hold."""
    for condition in filter(None, having.split(",")):
        parts = condition.split("^")
        if len(parts) != 4 or parts[2] not in _HAVING:
            continue
        if not _HAVING[parts[2]](_measure(access, table, rows, parts[0], parts[1]), _float(parts[3])):
            return False
    return True


def _measure(access: Access, table: str, rows: Sequence[Row], figure: str, name: str) -> float:
    if figure.lower() == "count":
        return float(len(rows))
    return _float(_figure(access, table, figure.lower(), name, rows))


def _arrange(
    access: Access, table: str, kept: list[tuple[tuple[str, ...], list[Row]]], order: str, groups: Sequence[str]
) -> None:
    """``AVG^state``, ``COUNT^DESC`` or the name of a grouping column, ``^DESC`` appended for descending."""
    for part in reversed([part for part in order.split(",") if part]):
        words = part.split("^")
        descending = words[-1].upper() == "DESC"
        if words[0] in groups:
            at = list(groups).index(words[0])
            kept.sort(key=lambda one, at=at: one[0][at], reverse=descending)  # type: ignore[misc]
        elif words[0].lower() in ("count", *_FIGURES):
            figure, name = words[0], words[1] if len(words) > 1 else ""
            kept.sort(
                key=lambda one, f=figure, n=name: _measure(access, table, one[1], f, n),  # type: ignore[misc]
                reverse=descending,
            )


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
