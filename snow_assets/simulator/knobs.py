"""What can be set about a simulated instance: its accounts, access rules, limits and habits.

Defaults are the ones that the platform ships with; every other value is a behaviour seen on some real instance.
Change them between requests: ``sim.knobs.invalid_terms = "no_rows"``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from snow_assets.simulator.collation import CollationName


@dataclass(slots=True)
class Account:
    """Someone who may sign in. Zone and formats shape display values and ``javascript:gs.*`` dates."""

    user_name: str
    password: str
    time_zone: str = ""  # empty: as its sys_user row says; else the row is made to say so
    date_format: str = ""  # yyyy-MM-dd, dd/MM/yyyy, MM-dd-yyyy, dd.MM.yyyy; empty: as the row says
    interactive: bool = True  # False: no token by the password grant


@dataclass(slots=True)
class OAuthClient:
    """An entry of the application registry."""

    client_id: str
    client_secret: str
    user_name: str = ""  # the "OAuth application user" of the client-credentials grant; empty: grant disabled


@dataclass(slots=True)
class HiddenRows:
    """A row ACL: rows of ``table`` that are dropped from a page *after* its limit was applied.

    A row is hidden when it is one of ``sys_ids``, lies in one of ``windows`` (from, to; to excluded), or falls
    in the ``fraction`` (0 to 1, chosen by the sys_id alone, so that it is the same row every time).
    ``user`` limits the rule to one account.
    """

    table: str
    fraction: float = 0.0
    sys_ids: frozenset[str] = frozenset()
    windows: tuple[tuple[str, str], ...] = ()
    user: str = ""


@dataclass(slots=True)
class RateRule:
    """An inbound rate rule: ``limit`` requests per hour of the clock, for one path prefix or all."""

    limit: int
    path: str = "/api/now/"
    rule_id: str = "2f3f4f5f6f7f8f901a2b3c4d5e6f7081"
    window_seconds: int = 3600


@dataclass(slots=True)
class Knobs:
    """Settings of one simulated instance. Times are seconds, sizes bytes."""

    # Who may sign in, and how.
    accounts: dict[str, Account] = field(default_factory=lambda: {"admin": Account("admin", "admin")})
    oauth_clients: dict[str, OAuthClient] = field(
        default_factory=lambda: {"client": OAuthClient("client", "secret", "admin")}
    )
    api_keys: dict[str, str] = field(default_factory=lambda: {"now_key": "admin"})  # key -> user name
    access_token_seconds: int = 1800
    refresh_token_seconds: int = 8_640_000
    basic_allowed: bool = True  # False: an API access policy demands tokens

    # What an account may see.
    hidden_rows: list[HiddenRows] = field(default_factory=list)
    hidden_fields: dict[str, set[str]] = field(default_factory=dict)  # table -> unreadable columns
    hidden_field_shape: Literal["absent", "empty"] = "absent"
    query_acls: dict[str, set[str]] = field(
        default_factory=dict
    )  # table -> columns that no range or sort may use; "*" = all
    denied_tables: set[str] = field(default_factory=set)  # lists answer an empty 200, counts 403
    closed_tables: set[str] = field(default_factory=set)  # no web service access: 403
    denied_aggregates: set[str] = field(default_factory=set)  # only the Aggregate API answers 403; "*" = all

    # Changes.
    unlogged_deletes: set[str] = field(default_factory=set)  # classes whose deletions sys_audit_delete does not show
    late_commits: float = 0.0  # share of an event log's versions that are committed late; read at the start, as is
    late_seconds: float = 300.0  # how late at most

    # Writing.
    max_content_length: int = 10_485_760  # of a body
    large_body_status: int = 400  # or 413, as front ends have it
    unknown_choices: Literal["reject", "accept"] = "reject"  # glide.rest.choice.allow_non_existing_value
    mandatory_fields: dict[str, set[str]] = field(default_factory=dict)  # data policies: table -> columns
    read_only_tables: set[str] = field(default_factory=set)  # writes answer 403
    latency_of_write: float = 0.0  # of every write, besides ``latency`` (a real instance: 0.1 to 2)

    # Import sets.
    denied_imports: set[str] = field(default_factory=set)  # staging tables: an empty 201, and nothing staged
    imports_serialized: bool = True  # False: rows that coalesce may be inserted twice by two callers at once
    insert_multiple_asynchronous: bool = True
    insert_multiple_keys: Literal["labels", "names"] = "labels"
    load_seconds: float = 0.0  # how long a set of insertMultiple is loading
    transform_seconds: float = 0.0  # and how long its transform takes
    transform_seconds_per_row: float = 0.0
    hold_transforms: bool = False  # none starts until it is told to
    transform_stops_after: int = 0  # rows: as a node that dies; the rest stays pending; 0: off
    import_days: int = 7  # staged rows are cleaned up after

    # Queries.
    collation: CollationName = "nocase"  # how sys_ids compare and sort; read once, when the instance starts
    invalid_terms: Literal["drop", "no_rows", "forbid_403"] = "drop"
    not_equal_drops_empty: bool = True
    literal_dates: Literal["utc", "account"] = "utc"  # the zone in which a moment in a query is read
    ties: Literal["move", "stay"] = "move"  # whether rows that no ORDERBY tells apart change places between pages
    null_unset_choices: bool = False  # display half of an unset choice: null instead of ""

    # Answers.
    canonical_url: str = ""  # host of links, "https://dev1.service-now.com"; empty: the host that was asked
    link_query_limit: int = 2_500  # encoded characters of the query before "Pagination not supported"; 0: off
    link_without_count: bool = False
    request_line_limit: int = 8_192
    chunked: bool = True
    gzip_up_to: int = 65_536  # compress bodies up to this size; a full page costs 20 ms of CPU, so -1 (all) is a choice
    xml_answers: bool = True  # errors in XML for those who prefer it

    # Time and load.
    latency: float = 0.0  # of every request (a real instance: 0.08)
    latency_per_cell: float = 0.0  # (0.00025)
    latency_per_offset_row: float = 0.0  # (0.0000004)
    latency_of_count: float = 0.0
    quota: float = 60.0  # a request that would take longer is cancelled
    quota_shape: Literal["a", "b", "c"] = "a"
    session_lock: bool = True
    session_waiters: int = 10
    session_idle: float = 60.0
    nodes: int = 2
    node_slots: int = 4
    node_queue: int = 50
    rate_rules: list[RateRule] = field(default_factory=list)
    cache_bytes: int = 600_000_000  # of rendered rows: 200,000 of 20 fields in mode "all" are 440 MB


_NOT_SHOWN = frozenset({"accounts", "oauth_clients", "api_keys"})  # they hold passwords
_READERS: dict[str, Callable[[Any], Any]] = {
    "hidden_rows": lambda rules: [_hidden_rows(rule) for rule in rules],
    "rate_rules": lambda rules: [RateRule(**rule) for rule in rules],
    "hidden_fields": lambda tables: {table: set(names) for table, names in tables.items()},
    "query_acls": lambda tables: {table: set(names) for table, names in tables.items()},
    "mandatory_fields": lambda tables: {table: set(names) for table, names in tables.items()},
    "read_only_tables": set,
    "denied_imports": set,
    "denied_tables": set,
    "closed_tables": set,
    "denied_aggregates": set,
    "unlogged_deletes": set,
}


def configure(knobs: Knobs, document: Mapping[str, Any]) -> None:
    """Set knobs from plain data: all of it, or nothing. ValueError names what cannot be set."""
    known = {one.name for one in fields(Knobs)} - _NOT_SHOWN
    values: dict[str, Any] = {}
    for name, value in document.items():
        if name not in known:
            raise ValueError(f"unknown knob {name!r}; known: {', '.join(sorted(known))}")
        try:
            values[name] = _READERS[name](value) if name in _READERS else _like(getattr(knobs, name), value)
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"knob {name}: {error}") from error
    for name, value in values.items():
        setattr(knobs, name, value)


def described(knobs: Knobs) -> dict[str, Any]:
    """The knobs as plain data, without secrets."""
    return {name: _plain(value) for name, value in asdict(knobs).items() if name not in _NOT_SHOWN}


def _hidden_rows(rule: Mapping[str, Any]) -> HiddenRows:
    windows = tuple((low, high) for low, high in rule.get("windows", ()))
    return HiddenRows(**{**rule, "sys_ids": frozenset(rule.get("sys_ids", ())), "windows": windows})


def _like(old: Any, new: Any) -> Any:
    """``new`` when it is of the kind that the knob holds; a whole number will do for a fraction."""
    if type(old) is type(new) or (isinstance(old, float) and type(new) is int):
        return new
    raise TypeError(f"{new!r} is no {type(old).__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
