"""The window of a delta: from a while before the last watermark on, in the instance's own terms.

The window has no upper bound. A row that changes while the window is read would leave a bounded one, and its older
version could be read by nobody any more; so it lands in its newer version, and is seen again by the next delta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from snow_assets.config import PullConfig
from snow_assets.pulls.plan import Plan, fingerprint_of
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.since import honoured_since, since_term

_PER_PLAN = frozenset({"query", "window"})  # of an identity: what each plan of a chain has of its own


@dataclass(frozen=True, slots=True)
class Chain:
    """What a delta pull has published: a base and the deltas on it.

    ``base`` is the base's plan id, ``fingerprint`` what all plans of the chain share, ``watermark`` the newest plan's
    ``as_of``, ``verified`` that of the newest plan whose keys were all compared; both aware, UTC.
    """

    base: str
    fingerprint: str
    watermark: datetime
    verified: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """What a delta reads: the rows for which ``term`` holds, those whose cursor lies at ``since`` or after it."""

    base: str
    since: datetime
    term: str
    verify: bool


def chain_fingerprint(identity: Mapping[str, Any]) -> str:
    """What the plans of one chain share. Fields that nobody declared may come and go with the table's columns."""
    left_out = _PER_PLAN if identity["columns"] == "declared" else _PER_PLAN | {"fields"}
    return fingerprint_of({key: value for key, value in identity.items() if key not in left_out})


def chain_of(commit: Mapping[str, str]) -> Chain | None:
    """The chain that the metadata of a dataset's newest commit tells of; ``None`` where it was no delta pull."""
    if commit.get("mode") != "delta":
        return None
    return Chain(
        base=commit["base"],
        fingerprint=commit["chain"],
        watermark=datetime.fromisoformat(commit["as_of"]),
        verified=datetime.fromisoformat(commit["verified"]),
    )


def find_window(
    pull: PullConfig, client: Client, chain: Chain | None, identity: Mapping[str, Any], as_of: datetime, tally: Tally
) -> Window | None:
    """The window of the next plan, or ``None`` where it must be a base.

    Where the instance's clock was set back, it is verified at once: rows may bear moments that no window reads.

    Raises ``QueryError`` where the instance does not honour a moment in a query.
    """
    if chain is None or chain.fingerprint != chain_fingerprint(identity):
        return None
    overlap = timedelta(seconds=pull.overlap)
    since = chain.watermark.astimezone(UTC).replace(microsecond=0) - overlap
    set_back = as_of < since  # the clock was ahead: what changed since then is in no window of it
    if set_back:
        since = as_of.astimezone(UTC).replace(microsecond=0) - overlap
    since = client.run(honoured_since(pull.table, pull.cursor, since, client.policy, tally), tally=tally)
    verify = set_back or (as_of - chain.verified).total_seconds() >= pull.verify_every
    return Window(chain.base, since, since_term(pull.cursor, since), verify)


def verified_at(plan: Plan, chain: Chain | None) -> datetime:
    """When the keys of the chain that ``plan`` belongs to were last compared, once it is published."""
    if plan.is_delta and not plan.verify and chain is not None:
        return chain.verified
    return plan.as_of
