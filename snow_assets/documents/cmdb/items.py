"""What is known of the CIs of a graph, besides their names: their classes and states."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from functools import reduce
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.config_graph import TOLD_OF_CIS
from snow_assets.documents.cmdb.gathering import Gathering, Half, Record
from snow_assets.errors import ConfigError
from snow_assets.pulls.live import Live

CI_FIELDS: Final = ("sys_id", *TOLD_OF_CIS)
"""The fields of ``cmdb_ci`` that ``RelationGraph.with_cis`` looks at."""
ATTRIBUTES: Final = ("class", "class_label", "status")
_COLUMNS: Final[dict[str, Half]] = {
    "sys_id": ("sys_id", "value"),
    "class": ("sys_class_name", "value"),
    "class_label": ("sys_class_name", "display_value"),
    "operational_status": ("operational_status", "display_value"),
    "install_status": ("install_status", "display_value"),
}


class Items:
    """Attributes by the number of the CI; null where unknown."""

    def __init__(self, found: pa.Table, ids: pa.StringArray) -> None:
        """``found`` has a row per CI, ``ids`` the sys_ids of those that matter."""
        places = pc.index_in(ids, value_set=found.column("sys_id").combine_chunks())
        taken = {name: found.column(name).take(places).combine_chunks() for name in ATTRIBUTES}
        self.columns: dict[str, pa.DictionaryArray] = {name: each.dictionary_encode() for name, each in taken.items()}

    @property
    def known_cis(self) -> int:
        """CIs of which something is known."""
        nothing = [pc.is_null(column) for column in self.columns.values()]
        return len(nothing[0]) - (pc.sum(reduce(pc.and_, nothing)).as_py() or 0)

    def known(self, node: int) -> dict[str, str]:
        """What is known of one."""
        found = {name: column[node].as_py() for name, column in self.columns.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(sum(column.nbytes for column in self.columns.values()))


def items_of(cis: Iterable[Record]) -> pa.Table:
    """A row per record of a CI: ``sys_id`` and ``ATTRIBUTES``."""
    gathering = Gathering(_COLUMNS)
    for record in cis:
        gathering.add(record)
    return _found(gathering)


async def aitems_of(cis: AsyncIterable[Record]) -> pa.Table:
    """``items_of``, of an asynchronous iterator."""
    gathering = Gathering(_COLUMNS)
    async for record in cis:
        gathering.add(record)
    return _found(gathering)


def must_be_cis(live: Live) -> Live:
    """What a pull of CIs has published. Raises ``ConfigError`` where that tells nothing of them."""
    if not set(TOLD_OF_CIS) & set(live.fields):
        hint = f"name a pull of cmdb_ci that lands {', '.join(TOLD_OF_CIS)}"
        raise ConfigError("lands neither classes nor states of CIs", key="cis", value=live.pull, hint=hint)
    return live


def published_items(live: Live) -> pa.Table:
    """``items_of``, of a published pull."""
    gathering = Gathering(_COLUMNS)
    gathering.add_published(live)
    return _found(gathering)


def _found(gathering: Gathering) -> pa.Table:
    rows = gathering.rows()
    text = {name: or_null(rows.column(name).cast(pa.string())) for name in rows.column_names}
    status = pc.coalesce(text["operational_status"], text["install_status"])
    return pa.table(
        {"sys_id": text["sys_id"], "class": text["class"], "class_label": text["class_label"], "status": status}
    )


def or_null(column: Any) -> Any:
    """Texts, those that are empty as null."""
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
