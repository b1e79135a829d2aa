"""Making a plan: what is to be read is frozen here, before the first page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from snow_assets.config import PullConfig
from snow_assets.errors import (
    Cancelled,
    ConfigError,
    CredentialsError,
    LandingError,
    QueryError,
    SnowError,
    UnknownTableError,
)
from snow_assets.pulls.dataset import published_plan
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import FORMAT_VERSION, Plan, Slice, fingerprint_of, moment_of, plan_id_of
from snow_assets.servicenow.account import Account, account, clock, count, rows, text
from snow_assets.servicenow.boundaries import Chain, find_chain, join_chains, prefix_bounds
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.dictionary import Column, columns
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.honoured import must_be_honoured, must_exist, visible_fields
from snow_assets.servicenow.keyed import check_key
from snow_assets.servicenow.pages import DictDecoder
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading

SLICES = 128  # aimed at: enough for every thread to the end, few enough for Dagster's events
MAX_PAGES_PER_SLICE = 50
SLICE_ROWS_UNCOUNTED = 10  # pages a slice where nothing counts
WITNESSES = 20  # rows remembered as visible

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, whether it is an unfinished one that goes on, and the ids of plans that were retired for it.

    ``passed_over`` tells of each unfinished plan that cannot be read, what is wrong and what is to be done.
    """

    plan: Plan
    continued: bool
    retired: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What a plan of this pull would freeze but for its slices, asked of the instance; nothing is written."""

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


def make_plan(
    pull: PullConfig,
    client: Client,
    landing: Landing,
    *,
    new: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> Planned:
    """The plan that the pull works on.

    An unfinished one of the same fingerprint goes on, unless it is older than ``max_plan_age`` or ``new`` is said. A
    new one retires the unfinished ones before it, with their files. What dead runs left half done is removed: whoever
    calls this holds the lease. ``announce`` is told the plan's id just before the plan is written, or goes on.

    Everything is asked of the instance before anything is written. Raises ``FixFirst`` for what is wrong with the
    configuration, the credentials, the table or the query; ``LandingError`` where the landing cannot be written.
    """
    landing.check_writable()
    preview = look(pull, client)
    landing.sweep()
    unfinished, passed_over = _unfinished(landing)
    for line in passed_over:
        _log.warning("%s", line)
    if unfinished and not new and _goes_on(unfinished[-1], preview, pull):
        plan, old, continued = unfinished[-1], unfinished[:-1], True  # a kill came before the old ones were retired
        announce(plan.plan_id)
    else:
        plan, old, continued = _write(landing, _freeze(pull, client, preview), announce), unfinished, False
    for each in old:
        landing.remove_plan(each.plan_id)
    return Planned(plan, continued=continued, retired=tuple(each.plan_id for each in old), passed_over=passed_over)


def look(pull: PullConfig, client: Client) -> Preview:
    """Ask the instance for all that a plan freezes but the boundaries. Writes nothing."""
    check_key(pull.key or (), pull.display_value)
    tally = Tally()
    query = EncodedQuery.parse(pull.query)
    who = client.run(account(client.policy, tally, username=client.username), tally=tally)
    as_of = client.run(clock(client.policy, tally), tally=tally) or datetime.now(UTC)
    counted = _count(client, pull.table, query, tally)
    probed, types, fields = _columns(pull, query, client, tally)
    if not probed and counted != 0:
        _must_be_provable(pull, query, types)
    identity = {
        "instance": client.url,
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
    )


def _columns(
    pull: PullConfig, query: EncodedQuery, client: Client, tally: Tally
) -> tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]:
    """The fields seen in a row, the dictionary's types, and the frozen field list."""
    declared = tuple(pull.fields or ())
    key = tuple(pull.key or ("sys_id",))
    asked = tuple(dict.fromkeys((*key, *declared, *query.fields))) if declared else ()
    visible = client.run(
        visible_fields(pull.table, asked, client.policy, tally, sys_id="sys_id" in (*key, *declared)), tally=tally
    )
    if visible is not None and not declared:
        walked = tuple(name for name in (*key, *query.fields) if name not in visible and "." in name)
        if walked:
            more = client.run(visible_fields(pull.table, walked, client.policy, tally, sys_id=False), tally=tally)
            visible = (*visible, *(name for name in more or () if name in walked))
    described = client.run(columns(pull.table, client.policy, tally), tally=tally) or ()
    if visible is None:
        _must_be_described(query, declared, described, pull.table)
        seen: tuple[str, ...] = ()
    else:
        _must_name_rows(pull, visible)
        must_be_honoured(query, visible, pull.table)
        must_exist(declared, visible, pull.table)
        seen = visible
    extra = {name for name in query.fields if "." in name and name not in key}
    everything = (*(name for name in seen if name not in extra), *(column.name for column in described))
    fields = declared or tuple(dict.fromkeys(everything))
    fields = (*(name for name in key if name not in fields), *fields)
    types = {column.name: column.type for column in described if column.name in fields}
    return tuple(name for name in fields if name in seen), types, fields


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


def _count(client: Client, table: str, query: EncodedQuery, tally: Tally) -> int | None:
    """The Aggregate API's count, advisory: a refused, slow or malformed one ends nothing."""
    try:
        return client.run(count(table, query, client.policy, tally), tally=tally)
    except (CredentialsError, UnknownTableError):
        raise
    except SnowError:
        return None


def _unfinished(landing: Landing) -> tuple[list[Plan], tuple[str, ...]]:
    """Plans that were never published and are newer than what is, oldest first; and a line for each unreadable one."""
    plan_ids = landing.plan_ids()
    if not plan_ids:
        return [], ()
    newest = published_plan(landing) or ""
    plans: list[Plan] = []
    passed_over: list[str] = []
    for plan_id in plan_ids:
        if plan_id > newest:
            try:
                plans.append(landing.read_plan(plan_id))
            except LandingError as error:  # it cannot go on, and its files are left for a person to look at
                folder = landing.store.uri(plan_id)
                found = f"plan {plan_id} of pull {landing.pull} {error.message}, and is passed over with what it landed"
                passed_over.append(f"{found}: bring its plan.json back, or remove {folder}")
    return plans, tuple(passed_over)


def _goes_on(plan: Plan, preview: Preview, pull: PullConfig) -> bool:
    """Whether an unfinished plan is young and reads the same. Undeclared fields were frozen by the plan itself."""
    identity = dict(preview.identity)
    if not pull.fields:
        identity["fields"] = plan.identity["fields"]
    young = abs(preview.as_of - plan.as_of) < timedelta(seconds=pull.max_plan_age)
    return young and plan.fingerprint == fingerprint_of(identity)


def _freeze(pull: PullConfig, client: Client, preview: Preview) -> Plan:
    per_slice = preview.slice_rows(pull)
    slices = _slices(pull, client, preview, per_slice)
    witnesses = _witnesses(client, preview) if slices[0].rows != 0 and not pull.key else ()
    return Plan(
        pull=pull.name,
        plan_id=plan_id_of(preview.as_of),
        as_of=preview.as_of,
        counted=preview.counted,
        table=pull.table,
        query=preview.query.where(),
        fields=preview.fields,
        display_value=pull.display_value,
        page_size=pull.page_size,
        slice_rows=per_slice,
        slices=slices,
        identity=preview.identity,
        probed=preview.probed,
        types=preview.types,
        cost=preview.cost.as_dict(),
        key=tuple(pull.key or ()),
        relative_dates=preview.query.relative_dates,
        witnesses=witnesses,
    )


def _witnesses(client: Client, preview: Preview) -> tuple[str, ...]:
    """The first rows that are visible; the slices' first rows bear witness, too."""
    query = preview.query.ordered(preview.query.where(), "sys_id")
    found = client.run(rows(preview.table, query, (), "probe", client.policy, preview.cost, limit=WITNESSES))
    return tuple(text(record, "sys_id") for record in found)


def _slices(pull: PullConfig, client: Client, preview: Preview, rows: int) -> tuple[Slice, ...]:
    """The slices that tile the keys: one where the count says so, else by chained probes, chains in parallel."""
    counted = preview.counted
    if pull.key or (counted is not None and counted <= rows):
        return (Slice(0, None, None, counted),)
    reading = Reading(
        table=pull.table,
        query=preview.query,
        fields=preview.fields,
        display_value=pull.display_value,
        page_size=pull.page_size,
        decoder=DictDecoder(),
        policy=client.policy,
    )
    driver = client.spawn()  # its end is not the client's
    prefixes = prefix_bounds(SLICES if counted is None else -(-counted // rows))

    def chain(bounds: tuple[str | None, str | None]) -> tuple[Chain, Tally]:
        tally = Tally()
        try:
            return driver.run(find_chain(reading, *bounds, rows, tally), None, tally), tally
        except SnowError as error:
            driver.cancel(error)  # the other chains are of no use any more
            raise

    try:
        with ThreadPoolExecutor(min(len(prefixes), pull.max_workers), thread_name_prefix="chain") as pool:
            found = list(pool.map(chain, prefixes))
    except Cancelled as stopped:
        raise stopped.__cause__ if isinstance(stopped.__cause__, SnowError) else stopped from None
    for _, tally in found:
        preview.cost.add(tally)
    ranges = join_chains([links for links, _ in found], rows)
    return tuple(Slice(piece.offset, piece.lo, piece.hi, piece.rows) for piece in ranges)


def _write(landing: Landing, plan: Plan, announce: Callable[[str], None]) -> Plan:
    """Write the plan under an id above all others, even where the instance's clock stood still or went back."""
    moment = plan.as_of
    known = landing.taken_ids()
    if known:
        moment = max(moment, moment_of(known[-1]) + timedelta(seconds=1))
    plan = replace(plan, plan_id=plan_id_of(moment))
    while True:
        announce(plan.plan_id)
        try:
            landing.write_plan(plan)
            return plan
        except FileExistsError:
            moment += timedelta(seconds=1)
            plan = replace(plan, plan_id=plan_id_of(moment))
        except OSError as error:
            raise LandingError(
                error.strerror or "cannot be written", key="data", value=landing.location, hint="check the folder"
            ) from error
