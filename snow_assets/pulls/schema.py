"""What the columns of a pull are (type, label, reference, choices), and how they differ from those last published.

Each plan has a ``schema.json`` beside its ``plan.json``. Files are the same whatever a column's type, since they hold
text; the schema says what the text means.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from snow_assets.config import PullConfig
from snow_assets.errors import LandingError, PublishRefused
from snow_assets.pulls.dataset import published_plan
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.plan import Plan
from snow_assets.pulls.preview import Preview
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.dictionary import Choice, Column, choices

SCHEMA_FILE = "schema.json"
UNREADABLE = "the account may not read sys_dictionary: every column is a string"
_SHOWN = 20  # columns named in one line

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    """One column. Where the dictionary does not describe it, it is a ``string``, and nothing else is known.

    ``reference``, ``keyed_by`` and ``defined_in`` are as of ``Column``. ``choices`` are ``None`` where they are not
    known, or there are none. ``visible``: whether a row showed it, ``None`` where no row was visible.
    """

    name: str
    type: str = "string"
    label: str = ""
    reference: str = ""
    keyed_by: str = ""
    max_length: int = 0
    mandatory: bool = False
    defined_in: str = ""
    choices: tuple[Choice, ...] | None = None
    described: bool = False
    visible: bool | None = None

    @property
    def kind(self) -> str:
        """The type in words: a reference with its table, and with its key where that is no sys_id."""
        if not self.reference:
            return self.type
        by = f" by {self.keyed_by}" if self.keyed_by not in ("", "sys_id") else ""
        return f"{self.type} to {self.reference}{by}"


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a plan's files, in their order.

    ``readable``: whether the dictionary could be read. ``declared``: whether the pull names its fields.
    """

    table: str
    columns: tuple[ColumnSchema, ...]
    readable: bool
    declared: bool = False
    note: str = ""

    @property
    def by_name(self) -> dict[str, ColumnSchema]:
        """The columns by name."""
        return {column.name: column for column in self.columns}


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What differs between two schemas; everything empty where nothing does.

    ``retyped`` and ``relabelled`` hold (column, before, after), ``renamed`` (old name, new name): a column that went
    and one that came with its label and type. ``hidden`` are columns that the account does not see any more and the
    dictionary still has. ``readable`` is whether the dictionary could be read now: if not, types were not compared.
    """

    table: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    retyped: tuple[tuple[str, str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    relabelled: tuple[tuple[str, str, str], ...] = ()
    hidden: tuple[str, ...] = ()
    readable: bool = True

    @property
    def breaks(self) -> bool:
        """Whether columns came, went or mean something else: what ``schema: freeze`` does not let pass."""
        return bool(self.added or self.removed or self.retyped or self.renamed)

    def lines(self) -> Iterator[str]:
        """What changed, a line each kind."""
        renamed = (f"{old} to {new}" for old, new in self.renamed)
        retyped = (f"{name} from {before} to {after}" for name, before, after in self.retyped)
        relabelled = (f"{name} from {before!r} to {after!r}" for name, before, after in self.relabelled)
        kinds: Mapping[str, Iterable[str]] = {
            "added": self.added,
            "removed": self.removed,
            "retyped": retyped,
            "renamed": renamed,
            "relabelled": relabelled,
            "hidden": self.hidden,
        }
        for word, found in kinds.items():
            names = list(found)
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                yield f"{word} {', '.join(names[:_SHOWN])}{more}"


def describe(pull: PullConfig, client: Client, preview: Preview) -> TableSchema:
    """The schema of what ``preview`` would freeze. One request, for choices, where columns have any."""
    found = preview.description
    known = {column.name: column for column in found.columns} if found else {}
    listed = [name for name in preview.fields if name in known and known[name].choice]
    sets: dict[str, tuple[Choice, ...]] | None = None
    if found and listed:
        sets = client.run(choices(found.chain, listed, client.policy, preview.cost), tally=preview.cost)
    seen = frozenset(preview.probed) if preview.probed else None
    return TableSchema(
        table=pull.table,
        columns=tuple(_column(name, known.get(name), (sets or {}).get(name), seen) for name in preview.fields),
        readable=found is not None,
        declared=bool(pull.fields),
        note="" if found else UNREADABLE,
    )


def _column(
    name: str, column: Column | None, listed: tuple[Choice, ...] | None, seen: frozenset[str] | None
) -> ColumnSchema:
    visible = None if seen is None else name in seen
    if column is None:  # of another table, or the dictionary does not show it
        return ColumnSchema(name, visible=visible)
    return ColumnSchema(
        name=name,
        type=column.type or "string",
        label=column.label,
        reference=column.reference,
        keyed_by=column.keyed_by,
        max_length=column.max_length,
        mandatory=column.mandatory,
        defined_in=column.defined_in,
        choices=listed,
        described=True,
        visible=visible,
    )


def write_schema(landing: Landing, plan: Plan, schema: TableSchema) -> None:
    """Write ``schema.json`` of a plan, where it has none yet: the columns that the plan's files have."""
    path = f"{plan.plan_id}/{SCHEMA_FILE}"
    if SCHEMA_FILE in landing.store.list(plan.plan_id):
        return
    frozen = replace(schema, columns=tuple(column for column in schema.columns if column.name in plan.fields))
    landing.store.write(path, msgspec.json.format(msgspec.json.encode(frozen), indent=1))


def read_schema(landing: Landing, plan_id: str) -> TableSchema | None:
    """The schema of a plan; from the plan's own types where its ``schema.json`` is gone or damaged.

    ``None`` where there is no such plan, or it cannot be read.
    """
    path = f"{plan_id}/{SCHEMA_FILE}"
    try:
        return msgspec.json.decode(landing.store.read(path), type=TableSchema)
    except FileNotFoundError:  # an earlier build's, or a kill came before it was written
        pass
    except (msgspec.DecodeError, UnicodeDecodeError):
        _log.warning("%s is damaged: the types in the plan stand in", landing.store.uri(path))
    try:
        return _of_plan(landing.read_plan(plan_id))
    except LandingError:
        return None


def _of_plan(plan: Plan) -> TableSchema:
    seen = frozenset(plan.probed) if plan.probed else None
    known = {name: Column(name, kind) for name, kind in plan.types.items()}
    return TableSchema(
        table=plan.table,
        columns=tuple(_column(name, known.get(name), None, seen) for name in plan.fields),
        readable=bool(plan.types),
        declared=plan.identity.get("columns") == "declared",
        note="" if plan.types else UNREADABLE,
    )


def published_schema(landing: Landing) -> TableSchema | None:
    """The schema of the newest published plan, or ``None``."""
    plan_id = published_plan(landing)
    return read_schema(landing, plan_id) if plan_id else None


def compare(old: TableSchema | None, new: TableSchema) -> SchemaChange:
    """What changed on the instance since ``old``; nothing where there is none, or it is of another table.

    What was edited in the pull is no change of the instance: where fields are declared, only those that both name are
    compared.
    """
    if old is None or old.table != new.table:
        return SchemaChange(new.table, readable=new.readable)
    before, after = old.by_name, new.by_name
    both = [(before[name], column) for name, column in after.items() if name in before]
    described = [(one, other) for one, other in both if one.described and other.described]
    open_list = not (old.declared or new.declared)
    # Who could not read the dictionary knew only of columns that a row showed.
    came = [c for c in new.columns if open_list and c.name not in before and (old.readable or c.visible is not False)]
    went = [c for c in old.columns if open_list and c.name not in after and (new.readable or c.visible is not False)]
    renamed = _renamed(went, came)
    return SchemaChange(
        table=new.table,
        added=tuple(c.name for c in came if c.name not in dict(renamed).values()),
        removed=tuple(c.name for c in went if c.name not in dict(renamed)),
        retyped=tuple((c.name, was.kind, c.kind) for was, c in described if _retyped(was, c)),
        renamed=renamed,
        relabelled=tuple(
            (c.name, was.label, c.label) for was, c in described if was.label and c.label and was.label != c.label
        ),
        hidden=tuple(c.name for was, c in both if was.visible and c.visible is False),
        readable=new.readable,
    )


def _retyped(was: ColumnSchema, now: ColumnSchema) -> bool:
    """Whether the text means something else. The first plans knew the type alone, and no reference's table."""
    return was.type != now.type or (bool(was.defined_in) and was.kind != now.kind)


def _renamed(went: Sequence[ColumnSchema], came: Sequence[ColumnSchema]) -> tuple[tuple[str, str], ...]:
    """Pairs of one that went and one that came of the same label and type, where no other could be meant."""

    def named(columns: Sequence[ColumnSchema]) -> dict[tuple[str, str], str]:
        keys = [(column.label, column.kind) for column in columns]
        seen = Counter(keys)
        return {
            key: column.name
            for key, column in zip(keys, columns, strict=True)
            if column.described and column.label and seen[key] == 1
        }

    new = named(came)
    return tuple((name, new[key]) for key, name in named(went).items() if key in new)


def must_not_change(change: SchemaChange, pull: PullConfig) -> None:
    """Raise ``PublishRefused`` where columns came, went or were retyped and the pull says ``schema: freeze``."""
    if pull.on_change == "freeze" and change.breaks:
        raise PublishRefused(
            f"the columns of {change.table} changed since the last dataset: {'; '.join(change.lines())}",
            key="schema",
            value=pull.on_change,
            hint=f"to accept that, set schema: evolve, run snow-assets pull {pull.name}, and set freeze again",
        )
