"""What a plan would freeze, asked of the instance: who we are, the clock, the columns, the count; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from snow_assets.config import PullConfig
from snow_assets.errors import ConfigError, CredentialsError, QueryError, SnowError, UnknownTableError
from snow_assets.pulls.plan import FORMAT_VERSION
from snow_assets.pulls.window import Chain, Window, find_window
from snow_assets.servicenow.account import Account, account, clock, count
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.dictionary import Column, Description, description
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.honoured import must_be_honoured, must_exist, visible_fields
from snow_assets.servicenow.keyed import check_key
from snow_assets.servicenow.query import EncodedQuery

SLICES = 128  # aimed at: enough for every thread to the end, few enough for Dagster's events
MAX_PAGES_PER_SLICE = 50
MOMENTS = ("glide_date_time", "due_date")  # types of a cursor
SLICE_ROWS_UNCOUNTED = 10  # pages a slice where nothing counts


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan of this pull would freeze but for its slices, asked of the instance; nothing is written.

    ``window`` is that of a delta, and part of ``query``. ``description`` is the dictionary's, where it may be read.
    """

    pull: str
    table: str
    account: Account
    as_of: datetime
    counted: int | None
    fields: tuple[str, ...]
    identity: dict[str, Any]
    types: dict[str, str]
    probed: tuple[str, ...]
    query: EncodedQuery
    cost: Tally
    window: Window | None = None
    description: Description | None = None

    def slice_rows(self, pull: PullConfig) -> int:
        """Rows of a slice: as declared, or so many pages that about 128 slices come out; all by a key of its own."""
        if pull.key:
            return max(self.counted or 0, pull.page_size)
        return pull.slice_rows or slice_rows(self.counted, pull.page_size)


def slice_rows(counted: int | None, page_size: int) -> int:
    """Rows of a slice when the pull does not say: clamp(pages / 128, 1, 50) pages."""
    if counted is None:
        return SLICE_ROWS_UNCOUNTED * page_size
    pages = -(-counted // page_size)
    return page_size * min(max(-(-pages // SLICES), 1), MAX_PAGES_PER_SLICE)


def look(pull: PullConfig, client: Client, chain: Chain | None = None) -> Preview:
    """Ask the instance for all that a plan freezes but the boundaries. Writes nothing.

    ``chain`` is what a delta pull has published; without it the plan is a base.
    """
    check_key(pull.key or (), pull.display_value)
    tally = Tally()
    query = EncodedQuery.parse(pull.query)
    who = client.run(account(client.policy, tally, username=client.username), tally=tally)
    as_of = client.run(clock(client.policy, tally), tally=tally) or datetime.now(UTC)
    probed, found, fields = _columns(pull, query, client, tally)
    types = {column.name: column.type for column in found.columns if column.name in fields} if found else {}
    window = None
    identity = _identity(pull, client.url, who, query, fields)
    if pull.mode == "delta":
        _must_be_a_moment(pull, types)
        as_of -= timedelta(seconds=pull.lag)  # what commits late, or by a clock that is behind, is seen by the next
        identity |= {"mode": "delta", "cursor": pull.cursor, "base_query": query.where(), "window": ""}
        window = find_window(pull, client, chain, identity, as_of, tally)
    if window is not None:
        query = EncodedQuery.parse(query.where(window.term))
        identity |= {"query": query.where(), "window": window.term}
    counted = advisory_count(client, pull.table, query, tally)
    if not probed and counted != 0:
        _must_be_provable(pull, query, types)
    return Preview(
        pull=pull.name,
        table=pull.table,
        account=who,
        as_of=as_of,
        counted=counted,
        fields=fields,
        identity=identity,
        types=types,
        probed=probed,
        query=query,
        cost=tally,
        window=window,
        description=found,
    )


def _must_be_a_moment(pull: PullConfig, types: dict[str, str]) -> None:
    """A cursor of another type would be compared with a date as text, or not at all."""
    kind = types.get(pull.cursor)
    if kind is not None and kind not in MOMENTS:
        hint = "choose a date-time field that moves with every change, such as sys_updated_on"
        raise ConfigError(f"is of type {kind}, not a date-time", key="cursor", value=pull.cursor, hint=hint)


def _identity(pull: PullConfig, url: str, who: Account, query: EncodedQuery, fields: tuple[str, ...]) -> dict[str, Any]:
    """The parts of the fingerprint of a full pull."""
    return {
        "instance": url,
        "account": who.sys_id or who.user_name,
        "table": pull.table,
        "query": query.where(),
        "fields": list(fields),
        "columns": "declared" if pull.fields else "all",
        "display_value": pull.display_value,
        "time_zone": who.time_zone,
        "date_format": who.date_format,
        "api": "table",
        "format": FORMAT_VERSION,
        "key": list(pull.key or ()),
    }


def _columns(
    pull: PullConfig, query: EncodedQuery, client: Client, tally: Tally
) -> tuple[tuple[str, ...], Description | None, tuple[str, ...]]:
    """The fields seen in a row, what the dictionary says of the table, and the frozen field list."""
    declared = tuple(pull.fields or ())
    key = tuple(pull.key or ("sys_id",))
    versions = pull.delta_fields if pull.mode == "delta" else ()
    asked = tuple(dict.fromkeys((*key, *declared, *versions, *query.fields))) if declared else ()
    visible = client.run(
        visible_fields(pull.table, asked, client.policy, tally, sys_id="sys_id" in (*key, *declared)), tally=tally
    )
    if visible is not None and not declared:
        walked = tuple(name for name in (*key, *query.fields) if name not in visible and "." in name)
        if walked:
            more = client.run(visible_fields(pull.table, walked, client.policy, tally, sys_id=False), tally=tally)
            visible = (*visible, *(name for name in more or () if name in walked))
    found = client.run(description(pull.table, client.policy, tally), tally=tally)
    described = found.columns if found else ()
    if visible is None:
        _must_be_described(query, declared, described, pull.table)
        seen: tuple[str, ...] = ()
    else:
        _must_name_rows(pull, visible)
        must_be_honoured(query, visible, pull.table)
        must_exist(declared, visible, pull.table)
        must_exist(versions[:1], visible, pull.table, key="cursor")
        seen = visible
    extra = {name for name in query.fields if "." in name and name not in key}
    everything = (*(name for name in seen if name not in extra), *(column.name for column in described))
    fields = declared or tuple(dict.fromkeys(everything))
    known = {*seen, *(column.name for column in described)}
    fields = (*fields, *(name for name in versions if name in known and name not in fields))
    fields = (*(name for name in key if name not in fields), *fields)
    return tuple(name for name in fields if name in seen), found, fields


def _must_name_rows(pull: PullConfig, visible: Sequence[str]) -> None:
    """Some field, or several, must tell rows apart: sys_id, or the pull's own key."""
    if pull.key:
        must_exist(pull.key, visible, pull.table, key="key")
    elif "sys_id" not in visible:
        raise ConfigError(
            f"the rows of {pull.table} have no sys_id of their own, as in a database view",
            key="table",
            value=pull.table,
            hint="set key to the fields that together name a row, such as [inc_sys_id, mi_sys_id]",
        )


def _must_be_described(query: EncodedQuery, declared: Sequence[str], described: Sequence[Column], table: str) -> None:
    """No row is visible: the dictionary, where it is readable, tells which fields exist."""
    if not described:
        return
    names = {column.name for column in described}
    must_exist((name for name in declared if "." not in name), names, table)
    must_be_honoured(query, names | {name for name in query.fields if "." in name}, table)


def _must_be_provable(pull: PullConfig, query: EncodedQuery, types: dict[str, str]) -> None:
    """No row is visible, and there are some: without the dictionary nothing tells what exists."""
    if types:
        return
    hint = "grant the account read access to the table's rows, or to sys_dictionary"
    if query.groups:
        raise QueryError(
            f"no row of table {pull.table} is visible, so that the query cannot be proven to be honoured",
            key="query",
            value=pull.query,
            hint=hint,
        )
    if not pull.fields:
        raise ConfigError(
            f"no row of table {pull.table} is visible, so that its columns are not known",
            key="table",
            value=pull.table,
            hint=f"name fields, or {hint}",
        )


def advisory_count(client: Client, table: str, query: EncodedQuery, tally: Tally) -> int | None:
    """The Aggregate API's count, advisory: a refused, slow or malformed one ends nothing."""
    try:
        return client.run(count(table, query, client.policy, tally), tally=tally)
    except (CredentialsError, UnknownTableError):
        raise
    except SnowError:
        return None
