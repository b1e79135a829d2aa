"""How the records of a table become documents, as data: which fields, in which order, under which labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

Line: TypeAlias = tuple[str, str]
"""A label, and the field that stands behind it."""

BASE: Final = ("sys_id", "number", "sys_class_name", "sys_created_on", "sys_updated_on")
"""Fields that every document's metadata have, where the table has them."""

JOURNALS: Final = ("comments", "work_notes")
ELEMENTS: Final = {"comments": "Additional comments", "work_notes": "Work notes"}
_FIRST: Final = (
    "name", "title", "short_description", "description", "label", "value", "state", "status", "stage", "priority",
    "category", "subcategory", "type", "assigned_to", "assignment_group", "user_name", "email",
)  # fmt: skip
_PLAIN: Final = ("name", "title", "short_description", "description", "label", "value")
"""Fields that hold words in any table, also where they look like a moment, a boolean or a number."""


_TASK: Final[tuple[Line, ...]] = (
    ("State", "state"),
    ("Priority", "priority"),
)
_PEOPLE: Final[tuple[Line, ...]] = (
    ("Assigned to", "assigned_to"),
    ("Assignment group", "assignment_group"),
)
_THING: Final[tuple[Line, ...]] = (
    ("Configuration item", "cmdb_ci"),
    ("Service", "business_service"),
)
_ENDING: Final[tuple[Line, ...]] = (
    ("Opened", "opened_at"),
    ("Resolved", "resolved_at"),
    ("Closed", "closed_at"),
)

_LABELS: Final = {field: label for label, field in (*_TASK, *_PEOPLE, *_THING, *_ENDING)}
_SHORT: Final = {
    "ci": "CI",
    "kb": "KB",
    "sla": "SLA",
    "ip": "IP",
    "fqdn": "FQDN",
    "url": "URL",
    "cab": "CAB",
    "os": "OS",
}
_PREFIXES: Final = ("sys_", "cmn_", "core_", "sc_", "u_")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a record of ``table`` reads.

    The first line of a document is ``kind`` and the ``title`` fields, then come ``lines``, blank ones left out, then
    ``texts``: those of several lines, which stand in the content alone and not in the metadata. Titles and texts hold
    words, whatever these look like. ``html`` are fields that hold HTML. ``more`` are read for the metadata only; there,
    ``numbers`` are integers and ``decimals`` are not. ``journals`` are the elements of sys_journal_field that are the
    record's. ``template`` is Jinja2 and takes the place of title and lines. A recipe without lines shows every field
    that reads as text. ``everything``: every field is read.
    """

    table: str
    kind: str = ""
    title: tuple[str, ...] = ("number", "short_description")
    lines: tuple[Line, ...] = ()
    texts: tuple[Line, ...] = ()
    html: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    decimals: tuple[str, ...] = ()
    journals: tuple[str, ...] = JOURNALS
    template: str = ""
    everything: bool = False

    @property
    def is_generic(self) -> bool:
        """Whether the table's own fields decide what is shown."""
        return not self.lines and not self.texts

    @property
    def fields(self) -> tuple[str, ...]:
        """What is read where nobody says otherwise; empty: every field."""
        if self.is_generic or self.everything:
            return ()
        shown = (field for _, field in (*self.lines, *self.texts))
        return tuple(dict.fromkeys((*BASE, *self.title, *shown, *self.more, *self.numbers, *self.decimals)))

    def is_plain(self, field: str) -> bool:
        """Whether a field holds words, whatever they look like."""
        return is_plain(field) or field in self.title or any(field == text for _, text in self.texts)

    def showing(self, fields: Iterable[str]) -> Recipe:
        """The recipe with lines for ``fields`` only: its own in its own order, then the others."""
        asked = set(fields)
        own = {field for _, field in (*self.lines, *self.texts)} | set(self.title)
        others = (name for name in fields if name not in own and not name.startswith("sys_"))
        return replace(
            self,
            template="",
            lines=(*(line for line in self.lines if line[1] in asked), *((label_of(name), name) for name in others)),
            texts=tuple(line for line in self.texts if line[1] in asked),
        )

    def only(self, fields: Iterable[str]) -> Recipe:
        """The recipe with a line for each of ``fields``, in their order, and nothing else; read is what it was."""
        labels = {field: label for label, field in (*self.lines, *self.texts)}
        return replace(
            self,
            kind="",
            title=(),
            template="",
            lines=tuple((labels.get(field) or label_of(field), field) for field in fields),
            texts=(),
            more=self.fields,
            everything=self.is_generic,
        )


def is_plain(field: str) -> bool:
    """Whether a field holds words in any table."""
    return field in _PLAIN


def label_of(field: str) -> str:
    """A field's name as a label: ``u_first_name`` is "First name", ``caller_id.email`` "Caller email"."""
    if field in _LABELS:
        return _LABELS[field]
    words = " ".join(part.removeprefix("u_").removesuffix("_id") for part in field.split(".")).replace("_", " ")
    text = " ".join(_SHORT.get(word, word) for word in words.split())
    return text[:1].upper() + text[1:] if text else field


def kind_of(table: str) -> str:
    """What a record of a table is called: of ``sys_user`` "User", of ``cmn_location`` "Location"."""
    return label_of(next((table.removeprefix(each) for each in _PREFIXES if table.startswith(each)), table))


def in_sensible_order(fields: list[str]) -> Iterator[str]:
    """Fields of a table that nobody described: what names and tells most comes first, the others by name."""
    yield from (field for field in _FIRST if field in fields)
    yield from sorted(field for field in fields if field not in _FIRST)


_INCIDENT: Final = Recipe(
    "incident",
    "Incident",
    lines=(
        *_TASK,
        ("Impact", "impact"),
        ("Urgency", "urgency"),
        ("Category", "category"),
        ("Subcategory", "subcategory"),
        ("Caller", "caller_id"),
        ("Location", "location"),
        *_PEOPLE,
        *_THING,
        ("On hold because", "hold_reason"),
        ("Parent incident", "parent_incident"),
        ("Problem", "problem_id"),
        ("Caused by change", "caused_by"),
        *_ENDING,
        ("Resolved by", "resolved_by"),
        ("Resolution code", "close_code"),
    ),
    texts=(
        ("Description", "description"),
        ("Business impact", "business_impact"),
        ("Probable cause", "cause"),
        ("Resolution", "close_notes"),
    ),
    more=("active", "company", "contact_type", "opened_by", "closed_by", "severity", "made_sla", "business_duration"),
    numbers=("reassignment_count", "reopen_count", "child_incidents"),
)

_KNOWLEDGE: Final = Recipe(
    "kb_knowledge",
    "Knowledge article",
    lines=(
        ("Knowledge base", "kb_knowledge_base"),
        ("Category", "kb_category"),
        ("Status", "workflow_state"),
        ("Author", "author"),
        ("Published", "published"),
        ("Valid to", "valid_to"),
        ("Configuration item", "cmdb_ci"),
        ("Keywords", "meta"),
    ),
    texts=(("Summary", "description"), ("Article", "text"), ("Article", "wiki")),
    html=("text", "wiki"),
    more=("active", "article_type", "latest", "retired", "source", "version", "language"),
    numbers=("sys_view_count", "use_count"),
    decimals=("rating",),
)

_CI: Final = Recipe(
    "cmdb_ci",
    "Configuration item",
    title=("name",),
    lines=(
        ("Class", "sys_class_name"),
        ("Summary", "short_description"),
        ("Status", "install_status"),
        ("Operational status", "operational_status"),
        ("Environment", "environment"),
        ("Category", "category"),
        ("Subcategory", "subcategory"),
        ("Business criticality", "busines_criticality"),
        ("Used for", "used_for"),
        ("Host name", "host_name"),
        ("FQDN", "fqdn"),
        ("IP address", "ip_address"),
        ("Operating system", "os"),
        ("Operating system version", "os_version"),
        ("Version", "version"),
        ("CPUs", "cpu_count"),
        ("RAM (MB)", "ram"),
        ("Disk space (GB)", "disk_space"),
        ("Manufacturer", "manufacturer"),
        ("Model", "model_id"),
        ("Serial number", "serial_number"),
        ("Asset tag", "asset_tag"),
        ("Location", "location"),
        ("Company", "company"),
        ("Department", "department"),
        ("Assigned to", "assigned_to"),
        ("Owned by", "owned_by"),
        ("Managed by", "managed_by"),
        ("Support group", "support_group"),
        ("First discovered", "first_discovered"),
        ("Last discovered", "last_discovered"),
    ),
    texts=(("Comments", "comments"),),
    more=("discovery_source", "mac_address", "install_date", "monitor"),
    numbers=("cpu_count", "ram", "fault_count"),
    decimals=("disk_space",),
)

_CHANGE: Final = Recipe(
    "change_request",
    "Change request",
    lines=(
        ("Type", "type"),
        *_TASK,
        ("Risk", "risk"),
        ("Impact", "impact"),
        ("Category", "category"),
        ("Approval", "approval"),
        ("Requested by", "requested_by"),
        *_PEOPLE,
        *_THING,
        ("Planned start", "start_date"),
        ("Planned end", "end_date"),
        ("Actual start", "work_start"),
        ("Actual end", "work_end"),
        ("CAB date", "cab_date"),
        ("On hold because", "on_hold_reason"),
        ("Opened", "opened_at"),
        ("Closed", "closed_at"),
        ("Close code", "close_code"),
    ),
    texts=(
        ("Description", "description"),
        ("Justification", "justification"),
        ("Implementation plan", "implementation_plan"),
        ("Risk and impact analysis", "risk_impact_analysis"),
        ("Backout plan", "backout_plan"),
        ("Test plan", "test_plan"),
        ("Review comments", "review_comments"),
        ("Close notes", "close_notes"),
    ),
    more=("active", "cab_required", "on_hold", "production_system", "unauthorized", "phase", "company", "location"),
    numbers=("reassignment_count",),
)

_PROBLEM: Final = Recipe(
    "problem",
    "Problem",
    lines=(
        *_TASK,
        ("Impact", "impact"),
        ("Category", "category"),
        ("Subcategory", "subcategory"),
        *_PEOPLE,
        *_THING,
        ("First reported by", "first_reported_by_task"),
        ("Change request", "rfc"),
        *_ENDING,
        ("Resolved by", "resolved_by"),
        ("Resolution code", "resolution_code"),
    ),
    texts=(
        ("Description", "description"),
        ("Cause", "cause_notes"),
        ("Workaround", "workaround"),
        ("Fix", "fix_notes"),
        ("Close notes", "close_notes"),
    ),
    html=("cause_notes", "workaround", "fix_notes"),
    more=("active", "known_error", "major_problem", "urgency", "opened_by", "company", "location"),
    numbers=("related_incidents", "reassignment_count", "reopen_count"),
)

_ITEM: Final = Recipe(
    "sc_cat_item",
    "Catalog item",
    title=("name",),
    lines=(
        ("Summary", "short_description"),
        ("Category", "category"),
        ("Catalogs", "sc_catalogs"),
        ("Price", "price"),
        ("Recurring price", "recurring_price"),
        ("Delivery time", "delivery_time"),
        ("Owner", "owner"),
        ("Fulfillment group", "group"),
        ("Vendor", "vendor"),
        ("Keywords", "meta"),
    ),
    texts=(("Description", "description"),),
    html=("description",),
    more=("active", "availability", "billable", "model", "type"),
    numbers=("order",),
)

_ATTACHMENT: Final = Recipe(
    "sys_attachment",
    "Attachment",
    title=("file_name",),
    lines=(
        ("Type", "content_type"),
        ("Bytes", "size_bytes"),
        ("Attached to", "table_name"),
        ("Added", "sys_created_on"),
    ),
    more=("table_sys_id", "hash", "state", "sys_created_by"),
    numbers=("size_bytes",),
)

_ENTRY: Final = Recipe(
    "sys_journal_field",
    "Journal entry",
    lines=(
        ("Kind", "element"),
        ("Table", "name"),
        ("Written", "sys_created_on"),
        ("Author", "sys_created_by"),
        ("Text", "value"),
    ),
    more=("element_id",),
    template=(
        "{{ {'comments': 'Additional comments', 'work_notes': 'Work notes'}.get(element, element) }} on {{ name }}, "
        "{{ sys_created_on }}{% if sys_created_by %}, {{ sys_created_by }}{% endif %}:\n"
        "{{ value.value }}"
    ),
)

_RELATION: Final = Recipe(
    "cmdb_rel_ci",
    "Relationship",
    lines=(("Parent", "parent"), ("Type", "type"), ("Child", "child")),
    more=("connection_strength", "port", "percent_outage"),
    template=(
        "{% set way = type.partition('::') %}"
        "{{ parent }} -> {{ way[0] }} -> {{ child }}"
        "{% if way[2] %}\n{{ child }} -> {{ way[2] }} -> {{ parent }}{% endif %}"
    ),
)

RECIPES: Final = {
    recipe.table: recipe
    for recipe in (_INCIDENT, _KNOWLEDGE, _CI, _CHANGE, _PROBLEM, _ITEM, _ATTACHMENT, _ENTRY, _RELATION)
}


def recipe_of(table: str) -> Recipe:
    """The recipe of a table; of one that is not described here, a general one."""
    found = RECIPES.get(table)
    if found is not None:
        return found
    if table.startswith("cmdb_ci_"):
        return replace(_CI, table=table)
    return Recipe(table, kind_of(table), title=("number", "name", "short_description"))
