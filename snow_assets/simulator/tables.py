"""The Table API: lists and single records (``/api/now/table/...``)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from snow_assets.simulator.access import Access
from snow_assets.simulator.dictionary import is_view
from snow_assets.simulator.query import Query, QueryForbiddenError, read_pairs, read_query
from snow_assets.simulator.select import select
from snow_assets.simulator.shape import Form, Mode, Shape
from snow_assets.simulator.wire import Asked, Reply, failure

DEFAULT_LIMIT = 10_000
NOT_FOUND = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
UNREADABLE = (
    "Insufficient rights to query records",
    "Field(s) present in the query do not have permission to be read",
)


@dataclass(frozen=True, slots=True)
class Place:
    """Which API version was asked: "" (newest), "v1/" or "v2/"; links repeat it."""

    version: str = ""

    def base(self, access: Access, asked: Asked) -> str:
        """What links begin with."""
        return f"{access.knobs.canonical_url or asked.host}/api/now/{self.version}".rstrip("/")


def list_rows(access: Access, asked: Asked, place: Place, table: str) -> Reply:
    """``GET /api/now/table/{table}``."""
    if not access.store.has(table):
        return failure(400, f"Invalid table {table}")
    if table in access.knobs.closed_tables:
        return failure(403, "User Not Authorized", "Failed API level ACL Validation")
    window = _window(asked)
    if isinstance(window, Reply):
        return window
    offset, limit = window
    try:
        query = understood(access, asked, table)
    except QueryForbiddenError:
        return failure(403, *UNREADABLE)
    if table in access.knobs.denied_tables:
        query = Query((), (), nothing=True)
    moving = access.knobs.ties == "move"
    found = select(table, query, access.scope, offset, limit, moving_ties=moving)
    counted = not asked.flag("sysparm_no_count")
    if too_long := _pagination_refused(access, asked, found.count, limit):
        return too_long
    shape = shape_for(access, asked, place, table)
    rows = access.readable(table, found.rows)
    reply = Reply(kind="list", table=table, records=shape.render(rows), ids=[row["sys_id"] for row in rows])
    reply.cells = len(rows) * len(shape.names)
    reply.delivery.delay = access.duration(reply.cells, offset, counted)
    if counted:
        reply.headers["X-Total-Count"] = str(found.count)
    if counted or access.knobs.link_without_count:
        reply.headers["Link"] = _links(access, asked, offset, limit, found.count)
    if not rows and place.version == "v1/":
        reply.status = 404
    return reply


def one_row(access: Access, asked: Asked, place: Place, table: str, sys_id: str) -> Reply:
    """``GET /api/now/table/{table}/{sys_id}``."""
    if not access.store.has(table):
        return failure(400, f"Invalid table {table}")
    row = None if is_view(table) else access.store.find(table, sys_id)
    if row is None or access.hides(table, sys_id) or table in access.knobs.denied_tables:
        return failure(404, *NOT_FOUND)
    shape = shape_for(access, asked, place, table)
    body = b'{"result":' + shape.render([row])[0] + b"}"
    return Reply(200, body, kind="record", table=table, ids=[sys_id], cells=len(shape.names))


def understood(access: Access, asked: Asked, table: str) -> Query:
    """The query of a request: ``sysparm_query``, else its name=value pairs. Raises QueryForbiddenError."""
    if "sysparm_query" in asked.params:
        return read_query(table, asked.params["sysparm_query"], access.scope, access.knobs.invalid_terms, access.rights)
    pairs = {name: value for name, value in asked.params.items() if not name.startswith("sysparm_")}
    return read_pairs(table, pairs, access.scope, access.rights)


def shape_for(access: Access, asked: Asked, place: Place, table: str) -> Shape:
    """How the rows of this answer are worded."""
    fields = tuple(name.strip() for name in asked.params.get("sysparm_fields", "").split(",") if name.strip())
    form = Form(
        table=table,
        fields=fields,
        mode=_mode(asked),
        links=not asked.flag("sysparm_exclude_reference_link"),
        base=place.base(access, asked),
        viewer=access.viewer,
        hidden=access.hidden_fields(table),
        hidden_as_empty=access.knobs.hidden_field_shape == "empty",
        null_unset_choices=access.knobs.null_unset_choices,
    )
    return access.shapes.get(form)


def _window(asked: Asked) -> tuple[int, int] | Reply:
    """Offset and limit, or the 400 that a wrong one gets."""
    limit, offset = _number(asked, "sysparm_limit", DEFAULT_LIMIT), _number(asked, "sysparm_offset", 0)
    if limit is None or limit <= 0:
        detail = "sysparm_limit value must be a positive integer"
        return failure(400, "Invalid value given for sysparm_limit", detail)
    if offset is None or offset < 0:
        return failure(400, "Invalid value given for sysparm_offset", "sysparm_offset value must not be negative")
    return offset, limit


def _mode(asked: Asked) -> Mode:
    asked_for = asked.params.get("sysparm_display_value", "false").lower()
    return "all" if asked_for == "all" else "true" if asked_for == "true" else "false"


def _number(asked: Asked, name: str, default: int) -> int | None:
    text = asked.params.get(name, "").strip()
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        return None


def _pagination_refused(access: Access, asked: Asked, count: int, limit: int) -> Reply | None:
    """A query too long to be repeated four times in a header is refused, unless no such header is needed."""
    allowed = access.knobs.link_query_limit
    query = quote(asked.params.get("sysparm_query", ""), safe="")
    needed = count > limit and not asked.flag("sysparm_suppress_pagination_header")
    if not allowed or len(query) <= allowed or not needed:
        return None
    detail = (
        "The requested query is too long to build the response pagination header URLs. Please do one of the following: "
        "shorten the sysparm_query, or query without pagination by setting the parameter "
        "'sysparm_suppress_pagination_header' to true, or set 'sysparm_limit' with a value larger then "
        f"{count} to bypass the need for pagination."
    )
    return failure(400, "Pagination not supported", detail)


def _links(access: Access, asked: Asked, offset: int, limit: int, count: int) -> str:
    """The Link header; "" where everything fits in one page or it was not wanted."""
    if asked.flag("sysparm_suppress_pagination_header") or (offset == 0 and count <= limit):
        return ""
    own = {"sysparm_offset", "sysparm_limit"}
    given = "&".join(f"{name}={quote(value, safe=',')}" for name, value in asked.params.items() if name not in own)
    base = f"{access.knobs.canonical_url or asked.host}{asked.path}?{given}{'&' if given else ''}"
    targets = {"first": 0, "prev": max(0, offset - limit), "next": offset + limit}
    if offset == 0:
        del targets["prev"]
    if offset + limit >= count:
        del targets["next"]
    targets["last"] = max(0, (count - 1) // limit * limit)
    return ",".join(f'<{base}sysparm_offset={at}&sysparm_limit={limit}>;rel="{rel}"' for rel, at in targets.items())
