"""The shapes of ``imports.yaml`` as pydantic models. Units: rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from snow_assets.config_import_fields import Columns, TransformConfig, check_type, transform_of
from snow_assets.config_import_source import SourceConfig, listed
from snow_assets.config_models import (
    Count,
    Duration,
    GroupName,
    ImportName,
    Seconds,
    TableName,
    Timeout,
    VariableName,
    check_folder,
    timeout_of,
)
from snow_assets.config_schedule import Schedule, Section, schedule_of

# What the platform calls glide.scheduled_import.max.concurrent.import_sets, and its default.
MAX_IMPORT_SETS: Final = 10

# Columns that a target keeps of each row by itself.
SYSTEM_COLUMNS: Final = ("sys_id", "sys_domain", "sys_created_on", "sys_updated_on", "sys_mod_count")


class KeyConfig(Section):
    """What rows must share to be in one import set: a column, an SQL expression or a Python function of a row."""

    column: str | None = None
    sql: str | None = None
    python: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> KeyConfig:
        if sum(each is not None for each in (self.column, self.sql, self.python)) != 1:
            raise ValueError("needs one of column, sql and python")
        return self


def _key(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class PartitionConfig(Section):
    """How rows are dealt to import sets. Exactly one of the three."""

    round_robin: bool = False
    key: Annotated[KeyConfig | None, BeforeValidator(_key)] = None
    size: Annotated[Count, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _check_one(self) -> PartitionConfig:
        if sum((self.round_robin, self.key is not None, self.size is not None)) != 1:
            raise ValueError("needs one of round_robin, key and size")
        return self

    @property
    def method(self) -> Literal["round_robin", "key", "size"]:
        """Its name."""
        return "key" if self.key else "size" if self.size else "round_robin"


def _partition(value: object) -> object:
    if isinstance(value, str) and value != "round_robin":
        raise ValueError("is neither round_robin nor a map")
    return {value: True} if isinstance(value, str) else value


class CoalesceConfig(Section):
    """What makes two records one. No ``fields``: every row is a new record.

    ``empty``: a row with an empty key is skipped, or matched against records where that field is empty.
    ``create_on_empty``: it is inserted instead. ``copy_empty_fields``: an empty value empties the record's field;
    else it leaves the field as it is, and the text ``NULL`` empties it.
    """

    fields: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    case_sensitive: Annotated[bool, Field(strict=True)] = False
    empty: Literal["skip", "match"] = "skip"
    create_on_empty: Annotated[bool, Field(strict=True)] = False
    copy_empty_fields: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _check_empty(self) -> CoalesceConfig:
        if self.empty == "match" and self.create_on_empty:
            raise ValueError("empty: match and create_on_empty: true both say what an empty key does: keep one")
        if len(set(self.fields)) != len(self.fields):
            raise ValueError("fields names one twice")
        if set(self.fields) & set(SYSTEM_COLUMNS) - {"sys_id"}:
            raise ValueError("fields may name no column that the target keeps by itself")
        return self


def _coalesce(value: object) -> object:
    if isinstance(value, str):
        return {"fields": (value,)}
    return {"fields": value} if isinstance(value, list | tuple) else value


class TargetConfig(Section):
    """Where records go: a table of a DuckDB file (the default), of PostgreSQL, or of a ServiceNow instance.

    ``duckdb`` is the file (relative to the working folder; default: ``targets.duckdb`` in the data folder).
    ``postgresql`` names the environment variable with the database's URL, ``postgresql://...``: it holds a password.
    ``servicenow`` says how: ``table`` (Table API), ``import_set`` (Import Set API, a row at a time) or
    ``insert_multiple``; the last two post to the import's ``staging`` table, and the instance's transform map decides.
    ``max_workers`` and what follows it are for an instance: as those of a pull.
    ``columns`` are the types of the columns where the table is made here; text where nothing is said.
    """

    table: TableName
    duckdb: str | None = None
    postgresql: VariableName | None = None
    db_schema: TableName | None = Field(None, alias="schema")
    servicenow: Literal["table", "import_set", "insert_multiple"] | None = None
    columns: Columns = Field(default_factory=dict)
    max_workers: Annotated[Count, Field(ge=1, le=256)] = 8
    max_retries: Annotated[Count, Field(ge=0, le=100)] = 3
    retry_backoff: Annotated[Seconds, Field(ge=0)] = 1.0
    timeout: Annotated[Timeout, BeforeValidator(timeout_of)] = Timeout()
    max_wait: Annotated[Duration, Field(ge=0)] = 900.0

    @model_validator(mode="after")
    def _check_one(self) -> TargetConfig:
        if sum(each is not None for each in (self.duckdb, self.postgresql, self.servicenow)) > 1:
            raise ValueError("names two places: keep one of duckdb, postgresql and servicenow")
        if self.db_schema and not self.postgresql:
            raise ValueError("schema belongs to postgresql")
        for column in self.columns:
            check_type(column, SYSTEM_COLUMNS)
        return self

    @property
    def kind(self) -> Literal["duckdb", "postgresql", "servicenow"]:
        """Which of the three."""
        return "postgresql" if self.postgresql else "servicenow" if self.servicenow else "duckdb"


def _target(value: object) -> object:
    return {"table": value} if isinstance(value, str) else value


class ImportConfig(Section):
    """A declared import. ``name`` is its key in the map ``imports``."""

    name: ImportName
    source: SourceConfig
    target: Annotated[TargetConfig, BeforeValidator(_target)]
    staging: TableName | None = None
    nodes: Annotated[Count, Field(ge=1, le=128)] = 2
    max_import_sets: Annotated[Count, Field(ge=1, le=1000)] = MAX_IMPORT_SETS
    partition: Annotated[PartitionConfig, BeforeValidator(_partition)] = PartitionConfig(round_robin=True)
    transform: Annotated[TransformConfig, BeforeValidator(transform_of)] = TransformConfig()
    coalesce: Annotated[CoalesceConfig, BeforeValidator(_coalesce)] = CoalesceConfig()
    synchronize_inserts: Annotated[bool, Field(strict=True)] = True
    parent: ImportName | None = None
    order: Count = 100
    domain: str | None = None
    schedule: Annotated[Schedule, BeforeValidator(schedule_of)] | None = None
    on_error: Literal["stop", "continue"] = "stop"
    keep: Annotated[Duration, Field(gt=0)] = 604_800.0
    description: str = ""
    group: GroupName | None = None

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        return check_folder(value)

    @field_validator("domain")
    @classmethod
    def _check_domain(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty; leave it out, or name a domain")
        return value

    @model_validator(mode="after")
    def _check_import(self) -> ImportConfig:
        check_import(self)
        return self

    @property
    def staging_table(self) -> str:
        """What the staging table is called; ``imp_<name>`` where nothing is said."""
        return self.staging or f"imp_{self.name}"

    @property
    def import_sets(self) -> int:
        """How many import sets a load has, where its partition is not by size: two for each node, up to the most."""
        return number_of_sets(self.nodes, self.max_import_sets)

    @property
    def workers(self) -> int:
        """How many import sets are transformed at a time: each node runs two transformer jobs."""
        return 2 * self.nodes

    @property
    def overlaps(self) -> bool:
        """Whether import sets are transformed while later rows load.

        A load that dies then is loaded anew: only records that are known by a key are not doubled by that.
        """
        return self.partition.size is not None and bool(self.coalesce.fields) and not self.coalesce.create_on_empty

    @property
    def sys_domain(self) -> str:
        """The domain of the rows; ``global`` where none is declared."""
        return self.domain or "global"

    @property
    def asset_group(self) -> str:
        """The group of the import's assets."""
        return self.group or self.name


def number_of_sets(nodes: int, most: int = MAX_IMPORT_SETS) -> int:
    """Two import sets for each node, up to ``most``: 2 nodes make 4, 10 nodes make 10."""
    return min(2 * nodes, most)


def check_import(config: ImportConfig) -> None:
    """Raise ``ValueError`` where parts of an import contradict each other."""
    if config.parent == config.name:
        raise ValueError("parent is the import itself")
    if config.parent and config.schedule:
        raise ValueError("a child starts after its parent: take parent or schedule out")
    mapped = config.transform.fields
    if mapped is not None:
        own = [name for name in mapped if name in SYSTEM_COLUMNS and name != "sys_id"]
        if own:
            raise ValueError(f"transform.fields sets {own[0]}, which the target keeps by itself")
        for name, field in mapped.items():
            wanted = config.target.columns.get(name, field.type)
            if "type" in field.model_fields_set and field.type != wanted:
                raise ValueError(f"target.columns says that {name} is {wanted}, and transform.fields {field.type}")
        absent = [name for name in config.coalesce.fields if name not in mapped]
        if absent:
            raise ValueError(f"coalesce names {absent[0]}, which transform.fields does not set")
    if config.target.servicenow in ("import_set", "insert_multiple") and not config.coalesce.fields:
        raise ValueError(
            "coalesce is missing: a request that is sent again would double its row; name the fields by which the "
            "transform map of the instance coalesces"
        )


class ImportSettings(Section):
    """A whole ``imports.yaml``. ``path`` is where it lies."""

    imports: dict[str, ImportConfig]
    path: Any = None

    def children(self, name: str) -> list[ImportConfig]:
        """The imports whose parent this is, in their order (equal ones by name)."""
        found = [each for each in self.imports.values() if each.parent == name]
        return sorted(found, key=lambda each: (each.order, each.name))

    def plan(self, name: str, depth: int = 0) -> Iterator[tuple[ImportConfig, int]]:
        """The import and all that follow it, each with its depth: a parent, its first child with all below it, ..."""
        yield self.imports[name], depth
        for child in self.children(name):
            yield from self.plan(child.name, depth + 1)
