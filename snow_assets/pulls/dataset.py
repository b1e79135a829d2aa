"""The dataset: a Delta Lake table whose data files are the landed slices; publishing copies nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, create_table_with_add_actions

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError, LeaseHeld, PlanIncomplete, PublishRefused
from snow_assets.pulls.columns import arrow_schema
from snow_assets.pulls.landing import LandedFile, Landing
from snow_assets.pulls.plan import Plan, moment_of
from snow_assets.pulls.sight import accept_hint, lacking_share, must_not_hide, must_not_lose_fields, must_not_lose_sight
from snow_assets.pulls.sweep_record import read_sweep
from snow_assets.pulls.window import Chain, chain_fingerprint, chain_of, verified_at

if TYPE_CHECKING:  # totals look at what is published
    from snow_assets.pulls.totals import Totals

FALL = 0.10  # of the rows, or rise of the hidden share, that must be accepted by name
COMMITS_READ = 100  # newest ones, looked through for one of ours: maintenance commits come between
APPLICATION = "snow_assets"
PREFIX = "snow_assets."  # of our keys in a commit's metadata
# Unless they are told not to, Delta writers forget versions after 30 days: ours go by a pull's ``keep``, or never.
CONFIGURATION: dict[str, str | None] = {"delta.enableExpiredLogCleanup": "false"}
HOOKS = PostCommitHookProperties(cleanup_expired_logs=False)  # of tables that were made without it, too


@dataclass(frozen=True, slots=True)
class Dataset:
    """What a pull has published. ``files`` are the paths or URLs of its Parquet files; ``plan`` is the newest one's id.

    ``changed`` tells whether this call made the commit. Of a delta pull (``mode``), the files hold every version that
    was seen since the plan ``base``, and ``rows`` is what the newest plan saw; current rows are a table of their own.
    """

    pull: str
    plan: str
    version: int
    location: str
    files: tuple[str, ...]
    rows: int
    fields: tuple[str, ...]
    changed: bool = False
    mode: str = "full"
    base: str = ""


def publish(plan: Plan, totals: Totals, landing: Landing, pull: PullConfig, *, accept: bool = False) -> Dataset:
    """Make a complete plan the dataset, in one commit.

    Publishing twice, or an older plan after a newer, changes nothing.

    Raises ``PlanIncomplete`` where the totals are not of this plan or name missing rows, ``PublishRefused`` where the
    rows fell, the hidden share rose or fields went missing by more than 10 % against the last dataset and ``accept``
    was not said, or where rows are hidden and the pull says ``hidden_rows: fail``, ``LeaseHeld`` where another run
    published meanwhile, and ``LandingError`` where the table's log cannot be read or written.
    """
    if (totals.plan, totals.fingerprint) != (plan.plan_id, plan.fingerprint) or totals.missing:
        raise PlanIncomplete("is not complete: nothing is published", key="plan", value=plan.plan_id)
    table = open_table(landing)
    version = int(moment_of(plan.plan_id).timestamp())
    if table is not None and _newest_version(landing, table) >= version:
        landing.store.remove_scratch(plan.plan_id)
        return _dataset(landing, table, changed=False)
    must_not_hide(plan, pull, totals.hidden)  # totals may be of before the pull said so
    before = {} if table is None else last_commit(landing, table)
    _must_extend(plan, before)
    if not accept and not plan.is_delta:
        _must_not_fall(plan, totals, before)
    landed = landing.all_landed(plan)
    if not accept:
        must_not_lose_sight(plan, [file.ledger for file in landed.values()])
        must_not_lose_fields(plan, [file.ledger for file in landed.values()], float(before.get("lacking") or "0"))
    if len(landed) != len(plan.slices):
        raise PlanIncomplete("lost files since its totals: nothing is published", key="plan", value=plan.plan_id)
    if sum(file.size for file in landed.values()) != totals.size:
        hint = "reconcile it again: materialise its totals"
        raise PlanIncomplete("has other files than its totals saw", key="plan", value=plan.plan_id, hint=hint)
    actions = [_add_action(file, plan) for file in landed.values() if file.ledger.landed]
    actions += _mended_actions(plan, landing)
    properties = _properties(plan, totals, version, before, lacking_share(file.ledger for file in landed.values()))
    _commit(landing, table, plan, actions, properties, pull.description)
    landing.store.remove_scratch(plan.plan_id)
    published = open_table(landing)
    if published is None:
        raise LandingError("the published table cannot be read back", key="data", value=landing.location)
    return _dataset(landing, published, changed=True)


def published(landing: Landing) -> Dataset | None:
    """The dataset as it is now, or ``None`` where nothing was published. Raises ``LandingError`` as ``publish``."""
    table = open_table(landing)
    return None if table is None else _dataset(landing, table, changed=False)


def published_plan(landing: Landing) -> str | None:
    """The id of the newest published plan, or ``None``. Raises ``LandingError`` as ``publish``."""
    table = open_table(landing)
    return None if table is None else str(last_commit(landing, table).get("plan", ""))


def published_chain(landing: Landing) -> Chain | None:
    """The chain of a delta pull's dataset, on which the next delta goes; ``None`` where the next plan is a base."""
    table = open_table(landing)
    return None if table is None else chain_of(last_commit(landing, table))


def open_table(landing: Landing) -> DeltaTable | None:
    """The dataset's table, or ``None`` where nothing was published. Raises ``LandingError`` as ``publish``."""
    with log_of(landing):
        if not landing.store.list("_delta_log"):
            return None
        try:
            return DeltaTable(landing.delta_location)
        except TableNotFoundError:
            return None


@contextmanager
def log_of(landing: Landing) -> Iterator[None]:
    """What deltalake or the disk says of the table's log, as an error of ours."""
    try:
        yield
    except CommitFailedError as error:
        raise _published_meanwhile(landing) from error
    except (DeltaError, OSError, ValueError, AttributeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LandingError(
            f"the dataset's log cannot be used: {reason}",
            key="data",
            value=landing.store.uri("_delta_log"),
            hint="see that it is readable and writable; bring it back from a backup, or move it away and publish again",
        ) from error


def _published_meanwhile(landing: Landing) -> LeaseHeld:
    return LeaseHeld("another run published meanwhile", key="pull", value=landing.pull, hint="run it again")


def _newest_version(landing: Landing, table: DeltaTable) -> int:
    """Of our transactions: seconds since the epoch of the newest published plan, or 0."""
    with log_of(landing):
        return table.transaction_version(APPLICATION) or 0


def last_commit(landing: Landing, table: DeltaTable) -> dict[str, str]:
    """Our part of the metadata of the newest commit of ours."""
    with log_of(landing):
        return _newest_of_ours(landing, table)


def _newest_of_ours(landing: Landing, table: DeltaTable) -> dict[str, str]:
    """Read from the log itself: ``DeltaTable.history`` is empty where the folder's name holds ``#`` or ``?``."""
    newest = table.version()
    for version in range(newest, max(-1, newest - COMMITS_READ), -1):
        try:
            lines = landing.store.read(f"_delta_log/{version:020}.json").splitlines()
        except FileNotFoundError:  # cleaned up, and the older ones with it
            break
        for info in (msgspec.json.decode(line).get("commitInfo", {}) for line in lines if line):
            ours = {key.removeprefix(PREFIX): str(value) for key, value in info.items() if key.startswith(PREFIX)}
            if ours:
                return ours
    return {}


def _dataset(landing: Landing, table: DeltaTable, *, changed: bool) -> Dataset:
    commit = last_commit(landing, table)
    with log_of(landing):
        paths = pa.table(table.get_add_actions()).column("path").to_pylist()  # file_uris() are quoted, files are not
        fields = tuple(field.name for field in table.schema().fields)
    return Dataset(
        pull=landing.pull,
        plan=commit.get("plan", ""),
        version=table.version(),
        location=landing.location,
        files=tuple(sorted(landing.store.uri(path) for path in paths)),
        rows=int(commit.get("landed", "0")),
        fields=fields,
        changed=changed,
        mode=commit.get("mode", "full"),
        base=commit.get("base", ""),
    )


def _must_extend(plan: Plan, last: Mapping[str, str]) -> None:
    """A delta belongs on the chain that it was planned for: another base may have been published meanwhile."""
    chain = chain_of(last)
    if plan.is_delta and (chain is None or (chain.base, chain.fingerprint) != (plan.base, _chain(plan))):
        raise PlanIncomplete(
            f"is a delta on {plan.base}, which is not what is published",
            key="plan",
            value=plan.plan_id,
            hint=f"start a new plan with snow-assets pull {plan.pull} --new",
        )


def _chain(plan: Plan) -> str:
    return chain_fingerprint(plan.identity)


def _must_not_fall(plan: Plan, totals: Totals, last: Mapping[str, str]) -> None:
    """An account that lost a role must not replace a good dataset with an empty one."""
    before = int(last.get("known") or last.get("landed", "0"))
    query = last.get("base_query", last.get("query"))
    if not before or query != plan.base_query or last.get("table") != plan.table:
        return
    hidden_before = int(last.get("hidden") or "0") / max(1, before + int(last.get("hidden") or "0"))
    hidden_now = (totals.hidden or 0) / max(1, totals.landed + (totals.hidden or 0))
    hint = accept_hint(plan)
    if totals.landed < before * (1 - FALL):
        raise PublishRefused(
            f"the rows fell from {before} to {totals.landed}; not published", key="plan", value=plan.plan_id, hint=hint
        )
    if hidden_now > hidden_before + FALL:
        raise PublishRefused(
            f"the hidden share rose from {hidden_before:.0%} to {hidden_now:.0%}; not published",
            key="plan",
            value=plan.plan_id,
            hint=hint,
        )


def _mended_actions(plan: Plan, landing: Landing) -> list[AddAction]:
    """Rows that a delta's window could not show. A delta that was not swept would hide what went away for good."""
    if not plan.is_delta:
        return []
    swept = read_sweep(landing, plan.plan_id)
    if swept is None:
        hint = f"run it again: snow-assets pull {plan.pull}"
        raise PlanIncomplete("was not swept: nothing is published", key="plan", value=plan.plan_id, hint=hint)
    for file in swept.mended:
        if landing.size_of(file.path) != file.size:
            hint = f"start a new plan: snow-assets pull {plan.pull} --new"
            raise PlanIncomplete("lost mended rows: nothing is published", key="plan", value=plan.plan_id, hint=hint)
    return [_action(file.path, file.size, file.rows, (file.first, file.last), plan) for file in swept.mended]


def _add_action(file: LandedFile, plan: Plan) -> AddAction:
    ledger = file.ledger
    return _action(file.path, file.size, ledger.landed, (ledger.first, ledger.last), plan)


def _action(path: str, size: int, rows: int, bounds: tuple[str, str], plan: Plan) -> AddAction:
    half = "display_value" if plan.display_value == "true" else "value"
    stats: dict[str, Any] = {"numRecords": rows}
    if not plan.key:
        stats["minValues"] = {"sys_id": {half: bounds[0]}}
        stats["maxValues"] = {"sys_id": {half: bounds[1]}}
    moment = int(plan.as_of.timestamp() * 1000)
    return AddAction(path, size, {}, moment, True, msgspec.json.encode(stats).decode())


def _properties(plan: Plan, totals: Totals, version: int, last: Mapping[str, str], lacking: float) -> CommitProperties:
    ours: dict[str, Any] = {
        "plan": plan.plan_id,
        "fingerprint": plan.fingerprint,
        "as_of": plan.as_of.isoformat(),
        "table": plan.table,
        "query": plan.query,
        "counted": "" if totals.counted is None else totals.counted,
        "landed": totals.landed,
        "hidden": "" if totals.hidden is None else totals.hidden,
        "digest": totals.digest,
        "lacking": f"{lacking:.3f}",
    }
    if plan.mode == "delta":
        ours |= {
            "mode": "delta",
            "base": plan.base or plan.plan_id,
            "base_query": plan.base_query,
            "chain": _chain(plan),
            "verified": verified_at(plan, chain_of(last)).isoformat(),
            "known": last["known"] if plan.is_delta else totals.landed,  # rows of the base
        }
    metadata = {PREFIX + key: str(value) for key, value in ours.items()}
    return CommitProperties(custom_metadata=metadata, app_transactions=[Transaction(APPLICATION, version)])


def _commit(
    landing: Landing,
    table: DeltaTable | None,
    plan: Plan,
    actions: list[AddAction],
    properties: CommitProperties,
    description: str,
) -> None:
    schema = Schema.from_arrow(arrow_schema(plan.fields, plan=plan.mode == "delta"))
    if table is not None:
        with log_of(landing):
            if plan.is_delta:
                add_columns(table, schema)
            mode = "append" if plan.is_delta else "overwrite"
            table.create_write_transaction(
                list(actions), mode, schema, commit_properties=properties, post_commithook_properties=HOOKS
            )
        return
    try:
        with log_of(landing):
            create_table_with_add_actions(
                landing.delta_location,
                schema,
                actions,
                mode="error",
                name=landing.pull,
                description=description,
                configuration=CONFIGURATION,
                commit_properties=properties,
            )
    except LandingError:
        if open_table(landing) is not None:  # there was none before
            raise _published_meanwhile(landing) from None
        raise


def add_columns(table: DeltaTable, schema: Schema) -> None:
    """Columns that came since: null in older files. A commit of its own, which may be made again after a crash."""
    known = {field.name for field in table.schema().fields}
    new = [field for field in schema.fields if field.name not in known]
    if new:
        table.alter.add_columns(new, post_commithook_properties=HOOKS)
        table.update_incremental()
