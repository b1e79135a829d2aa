"""What one signed-in account may see of the instance, and how long the instance takes over it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import cached_property
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from snow_assets.simulator.dictionary import family, lineage
from snow_assets.simulator.display import Viewer
from snow_assets.simulator.knobs import Account, HiddenRows, Knobs
from snow_assets.simulator.operands import Scope
from snow_assets.simulator.query import Rights
from snow_assets.simulator.script_dates import Speaker
from snow_assets.simulator.shape import Shapes
from snow_assets.simulator.store import Row, Store

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator


def zone_named(name: str) -> tzinfo:
    """A time zone by name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@dataclass
class Access:
    """The instance as one account meets it, for the length of one request."""

    sim: Simulator
    account: Account

    @property
    def store(self) -> Store:
        """The rows."""
        return self.sim.store

    @property
    def shapes(self) -> Shapes:
        """How rows are worded."""
        return self.sim.shapes

    @property
    def knobs(self) -> Knobs:
        """How the instance behaves."""
        return self.sim.knobs

    @property
    def files(self) -> dict[str, bytes]:
        """The bytes of attachments that were added during the run, by sys_id."""
        return self.sim.files

    @cached_property
    def user(self) -> Row:
        """The account's row of sys_user; empty where the data has none."""
        return self.store.lookup("sys_user", "user_name", self.account.user_name) or {}

    @cached_property
    def viewer(self) -> Viewer:
        """Zone and formats: the account's, else those of its sys_user row."""
        zone = self.account.time_zone or self.user.get("time_zone", "")
        date_format = self.account.date_format or self.user.get("date_format", "") or "yyyy-MM-dd"
        return Viewer(zone_named(zone), date_format)

    @cached_property
    def scope(self) -> Scope:
        """What queries of this request are read against."""
        now = self.store.clock.now().replace(microsecond=0)
        speaker = Speaker(now, self.viewer.zone, self.user.get("sys_id", ""), self.account.user_name)
        return Scope(self.store, speaker, self.knobs.not_equal_drops_empty, self.knobs.literal_dates == "account")

    @cached_property
    def rights(self) -> Rights:
        """What queries may use."""
        return Rights(self._unreadable, self._unrangeable)

    def hidden_fields(self, table: str) -> frozenset[str]:
        """Columns of a table that this account may not read."""
        rules = self.knobs.hidden_fields
        return frozenset(name for one in lineage(table) for name in rules.get(one, ())) if rules else frozenset()

    def readable(self, table: str, rows: list[Row]) -> list[Row]:
        """The rows that no row ACL keeps from the account."""
        rules = [rule for rule in self.knobs.hidden_rows if self._applies(rule, table)]
        return [row for row in rows if not any(_hides(rule, row["sys_id"]) for rule in rules)] if rules else rows

    def hides(self, table: str, sys_id: str) -> bool:
        """Whether a row ACL keeps this row from the account."""
        return any(self._applies(rule, table) and _hides(rule, sys_id) for rule in self.knobs.hidden_rows)

    def _applies(self, rule: HiddenRows, table: str) -> bool:
        related = table in family(rule.table) or rule.table in family(table)
        return related and rule.user in ("", self.account.user_name)

    def duration(self, cells: int, offset: int, counted: bool) -> float:
        """Seconds that an instance takes for such a request."""
        knobs = self.knobs
        work = cells * knobs.latency_per_cell + offset * knobs.latency_per_offset_row
        return knobs.latency + work + (knobs.latency_of_count if counted else 0.0)

    def _unreadable(self, table: str, column: str) -> bool:
        return column in self.hidden_fields(table)

    def _unrangeable(self, table: str, column: str) -> bool:
        rules = self.knobs.query_acls
        return (
            any(column in rules.get(one, ()) or "*" in rules.get(one, ()) for one in lineage(table)) if rules else False
        )


def _hides(rule: HiddenRows, sys_id: str) -> bool:
    if sys_id in rule.sys_ids or any(low <= sys_id < high for low, high in rule.windows):
        return True
    return rule.fraction > 0 and zlib.crc32(sys_id.encode()) / 2**32 < rule.fraction
