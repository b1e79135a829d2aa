"""A ServiceNow instance as the target of an import: row by row, each once, over faults and deaths of the process."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from snow_assets.config import Credentials, Environment, InstanceConfig, load_settings
from snow_assets.config_imports import ImportConfig, TargetConfig
from snow_assets.errors import ConfigError, ForbiddenError, UnknownTableError
from snow_assets.imports.contract import ROWS, Applied, Counters, MappedSet
from snow_assets.imports.home import Home
from snow_assets.imports.targets.instance_import import ImportSetWay
from snow_assets.imports.targets.instance_journal import Journal, write_whole
from snow_assets.imports.targets.instance_multiple import InsertMultipleWay
from snow_assets.imports.targets.instance_table import Act, Plan, Setting, TableWay
from snow_assets.imports.targets.instance_values import Outcome, Row, Shaping, md5, pieces
from snow_assets.pulls.stores import settle
from snow_assets.servicenow import account, dictionary, honoured
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Procedure, Request, Tally
from snow_assets.servicenow.pages import check_count
from snow_assets.servicenow.retry import fetch


class Way(Protocol):
    """How the rows of one set get into the instance, ``chunk`` of them at a time."""

    chunk: int

    def prepare(self, rows: Sequence[Row], before: Plan) -> tuple[Plan, Act]:
        """What the rows are to become, and how. ``before``: the plan of a run that died over them."""


class InstanceTarget:
    """A table of an instance. One for each import and process; safe for threads.

    Sets are applied chunk by chunk: one set of this machine at a time has the table to itself for a chunk, and its
    records are written by up to ``max_workers`` threads, those of one key one after the other.
    """

    def __init__(self, config: ImportConfig, client: Client, home: Home, *, owned: bool = True) -> None:
        """``owned``: the client is closed with the target."""
        self._config, self._client, self._home, self._owned = config, client, home, owned
        self._pool = ThreadPoolExecutor(config.target.max_workers, thread_name_prefix=f"import-{config.name}")

    def check(self, fields: pa.Schema) -> None:
        """Raises ``ConfigError`` where the table lacks a field: the instance would drop it without a word.

        So does a reference that makes records, and stores something of them that they lack. Nothing is said of fields
        where neither the dictionary nor a row of the table may be read. Raises ``ForbiddenError`` where records are
        there that the account does not see.
        """
        config = self._config
        for name, field in (config.transform.fields or {}).items():
            wanted = field.reference
            if wanted and wanted.on_missing == "create" and wanted.value not in ("sys_id", wanted.by):
                hint = f"value: sys_id or {wanted.by}; what else a new record would have is not known"
                raise ConfigError("cannot be made", key=f"fields.{name}.reference", value=wanted.value, hint=hint)
        names = [each.name for each in fields]
        table = config.target.table
        if config.target.servicenow == "table":
            names += ["sys_domain"] if config.domain is not None else []
        else:
            table = config.staging_table
        columns = self._client.run(dictionary.columns(table, self._client.policy, Tally()))
        known = None if columns is None else [each.name for each in columns]
        if known is None:
            try:
                known_visible = self._client.run(honoured.visible_fields(table, names, self._client.policy, Tally()))
            except UnknownTableError as error:
                raise ConfigError(error.message, key=f"imports.{config.name}.target.table", value=table) from error
            known = None if known_visible is None else list(known_visible)
        if config.target.servicenow != "import_set":  # whose answers say all, as long as they come
            self._client.run(self._must_be_readable(table))
        if known is not None:
            honoured.must_exist(names, known, table, key=f"imports.{config.name}.transform")

    def _must_be_readable(self, table: str) -> Procedure[None]:
        """Raise ``ForbiddenError`` where there are records and none is shown: nothing would be found among them."""
        policy = self._client.policy
        if (yield from account.rows(table, "", (), "probe", policy, Tally(), limit=1000)):
            return
        number: int | str = "the"
        counting = Request(f"/api/now/stats/{table}", {"sysparm_count": "true"}, "count")
        with suppress(ForbiddenError):  # who may not even count may not read
            number = yield from fetch(counting, check_count, policy, Tally())
        if number:
            said = f"the account sees none of {number} records, so that every row would be taken for new"
            raise ForbiddenError(said, key="table", value=table, hint="grant it read on the table")

    def applied(self, key: str) -> Applied | None:
        """What is remembered of an import set, beside its load."""
        found = self._known(key)
        return Applied(found["attempt"], Counters(**found["counters"])) if found else None

    def apply(self, mapped: MappedSet) -> Applied:
        """Apply a set row by row, each once. What a run that died had done stays done, and is counted as it was."""
        remembered = self.applied(mapped.key)
        if remembered is not None and not mapped.reprocess:
            return remembered
        journal = self._journal(mapped)
        shaping = Shaping.of(self._config, pq.read_schema(mapped.mapped))
        way = self._way(Setting(self._config, self._client, self._pool, mapped, shaping, journal))
        lock = self._lock()
        for rows in shaping.rows(mapped.mapped, way.chunk):
            for left in pieces(row for row in rows if row.number > journal.done_until):
                with lock:
                    plan, act = way.prepare(left, journal.plan)
                    journal.planned(plan)
                    journal.done(act())
        return self._remember(mapped, journal)

    def close(self) -> None:
        """End the threads, and the connections."""
        self._pool.shutdown()
        if self._owned:
            self._client.close()

    def _way(self, setting: Setting) -> Way:
        match self._config.target.servicenow:
            case "import_set":
                return ImportSetWay(setting)
            case "insert_multiple":
                return InsertMultipleWay(setting)
        return TableWay(setting)

    def _lock(self) -> AbstractContextManager[object]:
        """Held while records are looked up and written: no other set of this machine inserts meanwhile."""
        name = md5(f"{self._client.url}/{self._config.target.table}")
        path = self._home.root / ".locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, thread_local=False)

    def _memory(self, key: str) -> Path:
        name, load_id, set_no = key.split("/")[:3]
        return self._home.load(name, load_id).path / "applied" / f"{set_no}.json"

    def _known(self, key: str) -> dict[str, Any]:
        path = self._memory(key)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found

    def _journal(self, mapped: MappedSet) -> Journal:
        path = mapped.rows.with_name(f"{mapped.set_no:04d}.journal")
        found, known = Journal.found(path), self._known(mapped.key)
        if found is not None and found.id != known.get("journal") and found.reprocess == mapped.reprocess:
            return found
        salt = known.get("salt") or (found.salt if found else "")
        return Journal.begin(path, reprocess=mapped.reprocess, salt=salt)

    def _remember(self, mapped: MappedSet, journal: Journal) -> Applied:
        """Write what became of the rows, then that the set is applied."""
        states: Counter[str] = Counter()
        scratch = mapped.rows.with_name(f".{mapped.rows.name}.tmp")
        with pq.ParquetWriter(scratch, ROWS, compression="zstd") as writer:
            for outcomes in journal.outcomes():
                states.update(each.state for each in outcomes)
                writer.write_table(_table(outcomes))
        settle(scratch, mapped.rows)
        applied = Applied(mapped.attempt, Counters.of_states(states))
        known = {"attempt": applied.attempt, "counters": applied.counters.as_dict()}
        known |= {"journal": journal.id, "salt": journal.salt}
        write_whole(self._memory(mapped.key), json.dumps(known))
        journal.forget()
        return applied


def open_instance(config: ImportConfig, environment: Environment, client: Client | None = None) -> InstanceTarget:
    """The target that ``config`` declares; the instance, and who signs in, are those of pulls.

    ``client`` is used in the place of one from the environment. Raises ``ConfigError`` and ``CredentialsError``.
    """
    made = client_of(environment, config.target) if client is None else client
    return InstanceTarget(config, made, Home(environment.imports_dir), owned=client is None)


def client_of(environment: Environment, target: TargetConfig) -> Client:
    """A client of the instance that pulls read, too. Raises ``ConfigError`` and ``CredentialsError``."""
    path = environment.pulls_path
    instance = load_settings(path).instance if path.exists() else InstanceConfig()
    most = target.max_workers
    return Client(
        environment.require_url(instance),
        Credentials.from_environment(environment),
        max_workers=most if instance.max_workers is None else min(most, instance.max_workers),
        max_retries=target.max_retries,
        retry_backoff=target.retry_backoff,
        timeout=(target.timeout.connect, target.timeout.read),
        max_wait=target.max_wait,
        allow_http=instance.allow_http,
        proxy=environment.proxy(instance),
        ca_bundle=instance.ca_bundle,
    )


def _table(outcomes: Sequence[Outcome]) -> pa.Table:
    columns = zip(*(each.as_list() for each in outcomes), strict=True)
    return pa.table([pa.array(column, each.type) for column, each in zip(columns, ROWS, strict=True)], schema=ROWS)
