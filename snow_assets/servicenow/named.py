"""Rows asked for by their sys_ids: which are there, which are only counted, which are gone.

Absence is never taken from one answer: it has to be seen in several sessions. And what is not shown may be hidden from
the account and not gone: the instance counts before it applies its ACLs, so that a count that was tried on rows that
are there tells the two apart.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import quote

from snow_assets.errors import RequestFailed
from snow_assets.servicenow.account import UNREADABLE, count, text
from snow_assets.servicenow.counting import counts_rightly
from snow_assets.servicenow.exchange import Answer, DisplayValue, Procedure, Tally
from snow_assets.servicenow.pages import DictDecoder, check_page, total_count
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import RangeState, Reading, is_of_the_row, list_request
from snow_assets.servicenow.retry import RetryPolicy, TooHeavy, fetch

NAMED: Final = 100  # sys_ids in one request: 3,500 of the 8,000 characters of an address
ADDRESS: Final = 7_400  # characters of an address that a query and its sys_ids may take
ID_LENGTH: Final = 35  # of a sys_id and its comma, encoded
LOOKS: Final = 3  # sessions that must not show a row before it counts as absent
SAMPLE: Final = 20  # rows on which a way of counting is tried
EVERYTHING: Final = EncodedQuery()

Counting: TypeAlias = Literal["header", "aggregate", "none"]
"""How the instance counts rightly: by ``X-Total-Count``, by the Aggregate API, or not at all."""


@dataclass(slots=True)
class Look:
    """What was shown of the rows that were asked for: values of the fields by sys_id, in the order of the fields.

    ``counted`` is the instance's own number of them. Those in ``unreadable`` fail even alone: they are there.
    """

    shown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counted: int | None = 0
    unreadable: set[str] = field(default_factory=set)

    @property
    def there(self) -> set[str]:
        """Every row that is known to be there."""
        return self.shown.keys() | self.unreadable

    def add(self, other: Look) -> None:
        """Add what another look showed of other rows, or of the same ones."""
        self.shown |= other.shown
        self.unreadable |= other.unreadable
        self.counted = None if self.counted is None or other.counted is None else self.counted + other.counted


def narrow_reading(table: str, fields: Sequence[str], display_value: DisplayValue, policy: RetryPolicy) -> Reading:
    """What a look asks for: ``fields`` of any row of ``table``."""
    names = tuple(dict.fromkeys(("sys_id", *fields)))
    return Reading(table, EVERYTHING, names, display_value, NAMED, DictDecoder(), policy)


def listed(sys_ids: Iterable[str], query: EncodedQuery) -> Iterator[list[str]]:
    """Lists of sys_ids that fit into one request's address, in each ^NQ group of a query."""
    room = (ADDRESS - len(quote(query.where()))) // ID_LENGTH
    most = max(1, min(NAMED, room) // max(1, len(query.groups)))
    gathered: list[str] = []
    for sys_id in sys_ids:
        gathered.append(sys_id)
        if len(gathered) == most:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def look_for(reading: Reading, query: EncodedQuery, asked: Sequence[str], tally: Tally) -> Procedure[Look]:
    """One look at rows of ``query``, at most ``NAMED`` of them, in a session of its own; halved where too heavy.

    Every id must be able to stand in a list (see ``boundaries.is_usable``).
    """
    term = named(asked)
    request = list_request(reading, [term], limit=len(asked), purpose="lookup", count=True, fresh=True, query=query)

    def check(answer: Answer) -> Look:
        page = check_page(answer, request, reading.decoder)
        wanted = set(asked)
        shown = {
            sys_id: tuple(text(record, name) for name in reading.fields)
            for sys_id, record in zip(page.ids, page.records, strict=True)
            if sys_id in wanted
        }
        return Look(shown, total_count(answer))

    try:
        look = yield from fetch(request, check, reading.policy, tally, can_halve=len(asked) > 1)
    except TooHeavy:
        middle = len(asked) // 2
        look = yield from look_for(reading, query, asked[:middle], tally)
        look.add((yield from look_for(reading, query, asked[middle:], tally)))
        return look
    except RequestFailed as error:
        if not is_of_the_row(error) or len(asked) > 1:
            raise
        return Look({}, 1, set(asked))
    tally.rows += len(look.shown)
    tally.counts += 1
    return look


def find(reading: Reading, query: EncodedQuery, asked: Collection[str], tally: Tally) -> Procedure[Look]:
    """Those of ``asked`` that ``query`` shows, each looked for in up to ``LOOKS`` sessions; it counts nothing."""
    found = Look(counted=None)
    for _ in range(LOOKS):
        for batch in listed(sorted(set(asked) - found.there), query):
            found.add((yield from look_for(reading, query, batch, tally)))
    return found


def way_of_counting(reading: Reading, known: Sequence[str], tally: Tally) -> Procedure[Counting]:
    """How the instance counts rightly, tried on some of the rows ``known`` to be there."""
    seen = sorted((yield from look_for(reading, EVERYTHING, known[:SAMPLE], tally)).shown) if known else []
    if not seen:
        return "none"
    if (yield from counts_rightly(RangeState(reading, None, None, tally), named(seen), len(seen))):
        return "header"
    return "aggregate" if (yield from _aggregated(reading, seen, tally)) == len(seen) else "none"


def counted_among(
    reading: Reading, absent: Sequence[str], counting: Counting, tally: Tally
) -> Procedure[set[str] | None]:
    """Rows that the instance counts although it does not show them; ``None`` where it does not count rightly."""
    if not absent or counting == "none":
        return None if counting == "none" else set()
    if counting == "header":
        number = (yield from look_for(reading, EVERYTHING, absent, tally)).counted
    else:
        number = yield from _aggregated(reading, absent, tally)
    if number is None:
        return None
    if number == 0 or number >= len(absent):
        return set(absent) if number else set()
    middle = len(absent) // 2
    left = yield from counted_among(reading, absent[:middle], counting, tally)
    right = yield from counted_among(reading, absent[middle:], counting, tally)
    return None if left is None or right is None else left | right


def named(sys_ids: Sequence[str]) -> str:
    """The term that these rows, and no others, satisfy."""
    return "sys_idIN" + ",".join(sys_ids)


def _aggregated(reading: Reading, asked: Sequence[str], tally: Tally) -> Procedure[int | None]:
    try:
        return (yield from count(reading.table, EncodedQuery.parse(named(asked)), reading.policy, tally))
    except UNREADABLE:
        return None
