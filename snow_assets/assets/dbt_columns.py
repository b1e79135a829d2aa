"""What the catalogue shows of models: rows, columns, and which columns they come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:  # an extra, and slow to import
    from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation

_SCHEMA = "dagster/column_schema"
DISPLAY = "_display"  # ending of the column with what people see of a landed field


def described(build: DbtCliInvocation, translator: DagsterDbtTranslator) -> Iterator[Any]:
    """The events of a build, with rows, columns and their lineage where something was materialised.

    They come when dbt has ended: until then nobody else can open the DuckDB file. Afterwards it is closed again.
    """
    events: list[Any] = []
    try:
        for event in build.stream():
            events.append(event)  # noqa: PERF402 - what came before a failure is kept
    finally:
        try:
            yield from _with_columns(build, translator, events)
        finally:
            _close(build.adapter)


def _close(adapter: Any) -> None:
    """Let go of the DuckDB file: dbt keeps it open until the process ends."""
    if adapter is not None:
        adapter.cleanup_connections()
        getattr(adapter.connections, "close_all_connections", lambda: None)()


def _with_columns(build: DbtCliInvocation, translator: DagsterDbtTranslator, events: Sequence[Any]) -> Iterator[Any]:
    from dagster_dbt.core.dbt_event_iterator import DbtEventIterator  # noqa: PLC0415 - an extra, and slow to import

    models = [event for event in events if isinstance(event, dg.Output | dg.AssetMaterialization)]
    typed = [event for event in models if _is_typed(_node(build, event))]
    others = [event for event in models if not _is_typed(_node(build, event))]
    found = {
        _id(event): event for event in DbtEventIterator(iter(others), build).fetch_row_counts().fetch_column_metadata()
    }
    # What Dagster does takes a minute for a hundred columns, which here are a parent's, by name.
    for event in DbtEventIterator(iter(typed), build).fetch_row_counts().fetch_column_metadata(False):
        lineage = dg.MetadataValue.column_lineage(_by_name(build, translator, event))
        found[_id(event)] = event.with_metadata({**event.metadata, "dagster/column_lineage": lineage})
    for event in events:  # in this order: a model after those that it reads
        yield _without_lengths(found[_id(event)]) if any(event is model for model in models) else event


def _without_lengths(event: Any) -> Any:
    """The event with DuckDB's type of text: dbt says ``character varying(256)``, and nothing is cut at 256."""
    shown = event.metadata.get(_SCHEMA)
    if shown is None:
        return event
    columns = [
        dg.TableColumn(
            column.name,
            "VARCHAR" if column.type.startswith("character varying") else column.type,
            column.description,
            column.constraints,
            column.tags,
        )
        for column in shown.value.columns
    ]
    return event.with_metadata({**event.metadata, _SCHEMA: dg.MetadataValue.table_schema(dg.TableSchema(columns))})


def _id(event: Any) -> str:
    return str(event.metadata["unique_id"].value)


def _node(build: DbtCliInvocation, event: Any) -> Mapping[str, Any]:
    node: Mapping[str, Any] = build.manifest["nodes"][_id(event)]
    return node


def _is_typed(node: Mapping[str, Any]) -> bool:
    """Whether the model is the typed form of what a pull lands: so says ``lineage: by_name`` in its ``meta``."""
    return bool(node["config"].get("meta", {}).get("lineage") == "by_name")


def _by_name(build: DbtCliInvocation, translator: DagsterDbtTranslator, event: Any) -> dg.TableColumnLineage:
    """Each column comes from the parents' column of its name; ``<field>_display`` from ``<field>``."""
    schema = event.metadata[_SCHEMA].value
    deps: dict[str, list[dg.TableColumnDep]] = {column.name: [] for column in schema.columns}
    for unique_id in _node(build, event)["depends_on"]["nodes"]:
        key = translator.get_asset_spec(build.manifest, unique_id, build.project).key
        there = _columns_of(build, unique_id)
        for name, found in deps.items():
            field = name if name in there else name.removesuffix(DISPLAY)
            dep = dg.TableColumnDep(asset_key=key, column_name=field)
            if field in there and dep not in found:
                found.append(dep)
    return dg.TableColumnLineage(deps_by_column=deps)


def _columns_of(build: DbtCliInvocation, unique_id: str) -> frozenset[str]:
    parent = build.manifest["sources"].get(unique_id) or build.manifest["nodes"][unique_id]
    name = parent.get("identifier") or parent["alias"]
    adapter: Any = build.adapter
    with adapter.connection_named(f"columns_of_{unique_id}"):
        relation = adapter.Relation.create(database=parent["database"], schema=parent["schema"], identifier=name)
        return frozenset(column.name for column in adapter.get_columns_in_relation(relation))
