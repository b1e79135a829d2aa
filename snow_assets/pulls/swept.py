"""Sweeping keys: a plan of its own, landed beside the pull by the same threads, proofs and retries as its slices.

What was swept stays when a run dies, and is adopted by the next one unless it has grown old.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pyarrow.parquet as pq

from snow_assets.config import PullConfig
from snow_assets.errors import Cancelled, FixFirst, ForbiddenError, LandingError, SnowError
from snow_assets.pulls.costs import noted_costs
from snow_assets.pulls.fetching import Failed, land_slices
from snow_assets.pulls.landing import LandedFile, Landing
from snow_assets.pulls.plan import Plan, fingerprint_of
from snow_assets.pulls.planning import cut
from snow_assets.pulls.preview import advisory_count, slice_rows
from snow_assets.pulls.sight import LACKING
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import DisplayValue, Tally
from snow_assets.servicenow.query import EncodedQuery

PAGE = 10_000  # rows of a page: keys are narrow
OLDEST = timedelta(hours=6)  # of swept keys that are still held against what is known
FOLDER = "sweeps"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is swept for a plan: ``fields`` of all rows of ``table`` that match ``query``."""

    kind: str
    table: str
    query: str
    fields: tuple[str, ...]
    display_value: DisplayValue = "false"
    probed: tuple[str, ...] = ()
    witnesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Swept:
    """Swept rows in files. ``hidden`` is ``None`` where no count told."""

    landing: Landing
    files: tuple[LandedFile, ...]
    rows: int
    hidden: int | None
    cost: Tally

    def parquet(self) -> Iterator[pq.ParquetFile]:
        """Its files, opened one after the other."""
        return opened(self.landing, (file.path for file in self.files))


def opened(landing: Landing, paths: Iterable[str]) -> Iterator[pq.ParquetFile]:
    """Files of a landing, one open at a time."""
    for path in paths:
        with landing.parquet(path) as file:
            yield file


def sweep_rows(asked: Asked, plan: Plan, pull: PullConfig, client: Client, landing: Landing) -> Swept:
    """Sweep whatever has not been swept for ``plan`` yet. Raises the error of the first range that failed."""
    narrow = pull.model_copy(update={"page_size": PAGE, "slice_rows": None, "key": None, "mode": "full"})
    beside = Landing(pull.name, landing.beside(FOLDER))
    own = _plan_of(asked, plan, narrow, client, beside)
    results = land_slices(own, own.slices, narrow, client, beside)
    failed = [result.error for result in results if isinstance(result, Failed)]
    if failed:
        raise _worst(failed)
    landed = beside.all_landed(own)
    ledgers = [file.ledger for file in landed.values()]
    lacking = [one for ledger in ledgers for one in ledger.differences if one.cause == LACKING]
    if lacking:
        raise ForbiddenError(
            f"versions cannot be compared: {lacking[0].evidence}",
            key="table",
            value=asked.table,
            hint="give the right to read the field back, and run it again",
        )
    cost = Tally()
    for tally in (Tally.from_dict(own.cost), *(ledger.tally for ledger in ledgers), *noted_costs(beside, own)):
        cost.add(tally)
    hidden = [ledger.hidden for ledger in ledgers]
    return Swept(
        landing=beside,
        files=tuple(landed.values()),
        rows=sum(ledger.landed for ledger in ledgers),
        hidden=None if None in hidden else sum(one or 0 for one in hidden),
        cost=cost,
    )


def forget_swept(landing: Landing, keep: str = "") -> None:
    """Remove swept keys, but those of the plan ``keep``."""
    store = landing.beside(FOLDER)
    for name in store.list(""):
        if not keep or not name.startswith(keep):
            store.remove_folder(name.rstrip("/"))


def _plan_of(asked: Asked, plan: Plan, narrow: PullConfig, client: Client, beside: Landing) -> Plan:
    """The sweep's own plan: the one that was begun, unless it is old or asks otherwise."""
    own_id = f"{plan.plan_id}-{asked.kind}"
    tally = Tally()
    now = client.clock(tally)
    identity = {
        **plan.identity,
        "table": asked.table,
        "query": asked.query,
        "fields": list(asked.fields),
        "display_value": asked.display_value,
        "mode": "sweep",
        "of": plan.plan_id,
    }
    begun = _begun(beside, own_id)
    if begun is not None and begun.fingerprint == fingerprint_of(identity) and abs(now - begun.as_of) < OLDEST:
        beside.store.remove_scratch(own_id)
        return begun
    beside.remove_plan(own_id)
    query = EncodedQuery.parse(asked.query)
    asking = narrow.model_copy(update={"table": asked.table})
    counted = advisory_count(client, asked.table, query, tally)
    rows = slice_rows(counted, PAGE)
    own = Plan(
        pull=plan.pull,
        plan_id=own_id,
        as_of=now,
        counted=counted,
        table=asked.table,
        query=query.where(),
        fields=asked.fields,
        display_value=asked.display_value,
        page_size=PAGE,
        slice_rows=rows,
        slices=cut(asking, client, query, counted, rows, tally),
        identity=identity,
        probed=tuple(name for name in asked.fields if name in asked.probed),
        cost=tally.as_dict(),
        witnesses=asked.witnesses,
    )
    beside.write_plan(own)
    return own


def _begun(beside: Landing, own_id: str) -> Plan | None:
    try:
        return beside.read_plan(own_id)
    except (LandingError, OSError):  # there is none, or it is damaged: swept anew
        return None


def _worst(errors: list[SnowError]) -> SnowError:
    """The error that says most: what must be fixed first, and what is not only told of another's."""
    ranked = sorted(errors, key=lambda error: (isinstance(error, Cancelled), not isinstance(error, FixFirst)))
    return ranked[0]
