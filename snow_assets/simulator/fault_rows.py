"""What faults do to the rows and counts of lists."""

from __future__ import annotations

import json
from collections.abc import Callable

from snow_assets.simulator.fault_effects import Change, Context, Parameters
from snow_assets.simulator.wire import Asked, Reply


def on_rows(change: Callable[[list[bytes], list[str], Parameters], None]) -> Change:
    """A fault of lists: changes the rows and their sys_ids in place; other answers stay as they are."""

    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        if reply.records is not None:
            change(reply.records, reply.ids, given)
        return reply

    return apply


def cut_short(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Leave out the last rows."""
    keep = max(0, len(records) - int(given["rows"]))
    del records[keep:], ids[keep:]


def dropped(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Leave out rows in the middle, or the one that ``lost`` names."""
    wanted = given["lost"]
    gone = [at for at, one in enumerate(ids) if one == wanted] if wanted else middle(records, int(given["rows"]))
    for at in reversed(gone):
        del records[at], ids[at]


def middle(records: list[bytes], rows: int) -> list[int]:
    """The places of so many rows in the middle."""
    start = max(0, (len(records) - rows) // 2)
    return list(range(start, min(len(records), start + rows)))


def emptied(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Leave out every row."""
    records.clear()
    ids.clear()


def turned_round(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Turn the order round."""
    records.reverse()
    ids.reverse()


def doubled(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Repeat the first row."""
    if records:
        records.insert(0, records[0])
        ids.insert(0, ids[0])


def last_replaced(text: bytes) -> Callable[[list[bytes], list[str], Parameters], None]:
    """Put ``text`` in the place of the last row."""

    def change(records: list[bytes], ids: list[str], given: Parameters) -> None:
        if records:
            records[-1] = text

    return change


def without(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Leave the fields out of every row, or of the last only."""
    names = set(str(given["fields"]).split(","))
    for at in range(len(records)) if given["every_row"] else range(len(records))[-1:]:
        row = {name: value for name, value in json.loads(records[at]).items() if name not in names}
        records[at] = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def foreign(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Put a row of another range in: the table's first, whatever was asked."""
    if reply.records:
        params = {**context.asked.params, "sysparm_query": f"{given['query']}ORDERBYsys_id", "sysparm_limit": "1"}
        other = context.again(asked_anew(context.asked, {**params, "sysparm_offset": "0"}))
        if other.records:
            reply.records[-1], reply.ids[-1] = other.records[0], other.ids[0]
    return reply


def repeated(reply: Reply, context: Context, given: Parameters) -> Reply:
    """The table's first page again, whatever the cursor says: as when the range term was dropped."""
    if reply.records is not None:
        words = context.asked.params.get("sysparm_query", "").split("^")
        kept = "^".join(word for word in words if not word.startswith("sys_id"))
        again = context.again(
            asked_anew(context.asked, {**context.asked.params, "sysparm_query": kept, "sysparm_offset": "0"})
        )
        again.headers = reply.headers
        return again
    return reply


def asked_anew(asked: Asked, params: dict[str, str]) -> Asked:
    """The same request with other parameters."""
    return Asked(asked.method, asked.target, asked.host, asked.path, params, asked.headers)


def count_header(change: Callable[[int, Parameters], str | None]) -> Change:
    """Change ``X-Total-Count``, or the count in an answer of the Aggregate API; ``None`` leaves it out."""

    def apply(reply: Reply, context: Context, given: Parameters) -> Reply:
        if "X-Total-Count" in reply.headers:
            new = change(int(reply.headers["X-Total-Count"]), given)
            reply.headers.pop("X-Total-Count")
            if new is not None:
                reply.headers["X-Total-Count"] = new
        elif reply.kind == "count" and reply.status == 200:
            return count_body(reply, change, given)
        return reply

    return apply


def count_body(reply: Reply, change: Callable[[int, Parameters], str | None], given: Parameters) -> Reply:
    """Change the count of the Aggregate API."""
    document = json.loads(reply.body)
    stats = document["result"].get("stats") if isinstance(document["result"], dict) else None
    if stats and "count" in stats:
        new = change(int(stats.pop("count")), given)
        if new is not None:
            stats["count"] = new
        reply.body = json.dumps(document).encode()
    return reply


def lie(count: int, given: Parameters) -> str:
    """Another count than the true one."""
    return str(max(0, int(count * float(given["factor"])) + int(given["delta"])))


def no_date(reply: Reply, context: Context, given: Parameters) -> Reply:
    """Another ``Date`` header, or none."""
    reply.headers["Date"] = str(given["date"])
    return reply


def counted_as_number(reply: Reply, context: Context, given: Parameters) -> Reply:
    """The Aggregate API's count as a JSON number, as some releases send it."""
    if reply.kind == "count" and reply.status == 200:
        document = json.loads(reply.body)
        document["result"]["stats"]["count"] = int(document["result"]["stats"]["count"])
        reply.body = json.dumps(document).encode()
    return reply


def widened(reply: Reply, context: Context, given: Parameters) -> Reply:
    """``times_limit`` as many rows as were asked for."""
    if reply.records is None or "sysparm_limit" not in context.asked.params:
        return reply
    limit = int(context.asked.params["sysparm_limit"]) * int(given["times_limit"])
    more = context.again(asked_anew(context.asked, {**context.asked.params, "sysparm_limit": str(limit)}))
    more.headers = reply.headers
    return more


def shifted(reply: Reply, context: Context, given: Parameters) -> Reply:
    """The page begins ``shift_by`` rows later, as offsets do when rows before them go."""
    if reply.records is None:
        return reply
    offset = int(context.asked.params.get("sysparm_offset", "0")) + int(given["shift_by"])
    other = context.again(asked_anew(context.asked, {**context.asked.params, "sysparm_offset": str(offset)}))
    other.headers = reply.headers
    return other


def overlapping(reply: Reply, context: Context, given: Parameters) -> Reply:
    """The row before the page stands first on it: a row that is repeated across pages."""
    if reply.records:
        params = {
            **context.asked.params,
            "sysparm_query": f"sys_id<{reply.ids[0]}^ORDERBYDESCsys_id",
            "sysparm_limit": "1",
            "sysparm_offset": "0",
        }
        before = context.again(asked_anew(context.asked, params))
        if before.records:
            reply.records[0], reply.ids[0] = before.records[0], before.ids[0]
    return reply


def with_value(value: bytes) -> Callable[[list[bytes], list[str], Parameters], None]:
    """Give the last row's last field ``value``, which is JSON text or pretends to be."""

    def change(records: list[bytes], ids: list[str], given: Parameters) -> None:
        if records:
            name = list(json.loads(records[-1]))[-1]
            kept = {key: cell for key, cell in json.loads(records[-1]).items() if key != name}
            head = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
            records[-1] = head + (b"," if kept else b"") + json.dumps(name).encode() + b":" + value + b"}"

    return change


def with_sys_id(sys_id: object) -> Callable[[list[bytes], list[str], Parameters], None]:
    """Give the last row another sys_id."""

    def change(records: list[bytes], ids: list[str], given: Parameters) -> None:
        if records:
            row = {**json.loads(records[-1]), "sys_id": sys_id}
            records[-1] = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()

    return change


def names_doubled(records: list[bytes], ids: list[str], given: Parameters) -> None:
    """Write every name and value of every row twice."""
    records[:] = [record[:-1] + b"," + record[1:] if len(record) > 2 else record for record in records]


def one_row(reply: Reply, context: Context, given: Parameters) -> Reply:
    """``result`` is the first row instead of a list."""
    if reply.records is not None:
        reply.body = b'{"result":' + (reply.records[0] if reply.records else b"{}") + b"}"
        reply.records = None
    return reply
