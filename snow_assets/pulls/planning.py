"""Making a plan: what is to be read is frozen here, before the first page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError
from snow_assets.pulls.dataset import published_chain, published_plan
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import Plan, Slice, fingerprint_of, moment_of, plan_id_of
from snow_assets.pulls.preview import SLICES, Preview, look
from snow_assets.pulls.schema import SchemaChange, compare, describe, must_not_change, published_schema, write_schema
from snow_assets.servicenow.account import rows, text
from snow_assets.servicenow.boundaries import Chain, find_chain, join_chains, prefix_bounds
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.driver import Driver
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.fan_out import fan_out
from snow_assets.servicenow.pages import DictDecoder
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading

WITNESSES = 20  # rows remembered as visible

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, whether it is an unfinished one that goes on, and the ids of plans that were retired for it.

    ``passed_over`` tells of each unfinished plan that cannot be read, what is wrong and what is to be done. ``change``
    is how the table's columns differ from those last published. ``cost`` is what this call asked of the instance.
    """

    plan: Plan
    continued: bool
    change: SchemaChange
    retired: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    cost: Tally = field(default_factory=Tally)


def make_plan(
    pull: PullConfig,
    client: Client,
    landing: Landing,
    *,
    new: bool = False,
    base: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> Planned:
    """The plan that the pull works on.

    An unfinished one of the same fingerprint goes on, unless it is older than ``max_plan_age`` or ``new`` is said. A
    new one retires the unfinished ones before it, with their files. What dead runs left half done is removed: whoever
    calls this holds the lease. A delta pull gets a delta where its dataset allows one; ``base`` asks for a new base
    instead. ``announce`` is told the plan's id just before the plan is written, or goes on.

    Everything is asked of the instance before anything is written. Raises ``FixFirst`` for what is wrong with the
    configuration, the credentials, the table or the query; ``PublishRefused`` where the pull freezes its schema and
    the columns changed; ``LandingError`` where the landing cannot be written.
    """
    landing.check_writable()
    new = new or base
    preview = look(pull, client, None if base else published_chain(landing))
    schema = describe(pull, client, preview)
    change = compare(published_schema(landing), schema)
    must_not_change(change, pull)
    landing.sweep()
    unfinished, passed_over = _unfinished(landing)
    for line in passed_over:
        _log.warning("%s", line)
    if unfinished and not new and _goes_on(unfinished[-1], preview, pull):
        plan, old, continued = unfinished[-1], unfinished[:-1], True  # a kill came before the old ones were retired
        announce(plan.plan_id)
    else:
        plan, old, continued = _write(landing, _freeze(pull, client, preview), announce), unfinished, False
    write_schema(landing, plan, schema)
    for each in old:
        landing.remove_plan(each.plan_id)
    retired = tuple(each.plan_id for each in old)
    return Planned(plan, continued, change, retired=retired, passed_over=passed_over, cost=preview.cost)


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
    if pull.mode == "delta" and not plan.is_delta:  # a base that was asked for, where a delta would do
        identity |= {"query": identity["base_query"], "window": ""}
    if not pull.fields:
        identity["fields"] = plan.identity["fields"]
    young = abs(preview.as_of - plan.as_of) < timedelta(seconds=pull.max_plan_age)
    return young and plan.fingerprint == fingerprint_of(identity)


def _freeze(pull: PullConfig, client: Client, preview: Preview) -> Plan:
    per_slice = preview.slice_rows(pull)
    slices = cut(pull, client, preview.query, preview.counted, per_slice, preview.cost)
    witnesses = _witnesses(client, preview) if slices[0].rows != 0 and not pull.key else ()
    window = preview.window
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
        mode=pull.mode,
        base=window.base if window else "",
        since=window.since if window else None,
        verify=window is not None and window.verify,
        cursor=pull.cursor if pull.mode == "delta" else "",
    )


def _witnesses(client: Client, preview: Preview) -> tuple[str, ...]:
    """The first rows that are visible; the slices' first rows bear witness, too."""
    query = preview.query.ordered(preview.query.where(), "sys_id")
    found = client.run(rows(preview.table, query, (), "probe", client.policy, preview.cost, limit=WITNESSES))
    return tuple(text(record, "sys_id") for record in found)


def cut(
    pull: PullConfig, client: Client, query: EncodedQuery, counted: int | None, rows: int, cost: Tally
) -> tuple[Slice, ...]:
    """The slices that tile the keys: one where the count says so, else by chained probes, chains in parallel."""
    if pull.key or (counted is not None and counted <= rows):
        return (Slice(0, None, None, counted),)
    reading = Reading(
        table=pull.table,
        query=query,
        fields=(),  # boundaries are sys_ids alone
        display_value=pull.display_value,
        page_size=pull.page_size,
        decoder=DictDecoder(),
        policy=client.policy,
    )
    prefixes = prefix_bounds(SLICES if counted is None else -(-counted // rows))

    def chain(driver: Driver, bounds: tuple[str | None, str | None], tally: Tally) -> Chain:
        return driver.run(find_chain(reading, *bounds, rows, tally), None, tally)

    found = fan_out(client, pull.max_workers, chain, prefixes, cost)
    ranges = join_chains(found, rows)
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
