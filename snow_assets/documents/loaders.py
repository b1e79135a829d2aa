"""One loader per table that people ask for, and one for any table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, Unpack

from snow_assets.documents import bodies
from snow_assets.documents.cells import Record
from snow_assets.documents.loader import Connection, Loader, Options
from snow_assets.documents.recipes import RECIPES, recipe_of
from snow_assets.documents.wanted import Added, Ask, Published
from snow_assets.errors import ConfigError
from snow_assets.servicenow.core import checked_fields, checked_name


class IncidentLoader(Loader):
    """Incidents."""

    recipe = RECIPES["incident"]


class KnowledgeBaseLoader(Loader):
    """Knowledge articles; their HTML becomes text."""

    recipe = RECIPES["kb_knowledge"]


class ChangeLoader(Loader):
    """Change requests."""

    recipe = RECIPES["change_request"]


class ProblemLoader(Loader):
    """Problems."""

    recipe = RECIPES["problem"]


class CatalogLoader(Loader):
    """Items of the service catalogue."""

    recipe = RECIPES["sc_cat_item"]


class JournalLoader(Loader):
    """Journal entries, each a document of its own."""

    recipe = RECIPES["sys_journal_field"]


class RelationshipLoader(Loader):
    """Relations of configuration items: parent, type, child."""

    recipe = RECIPES["cmdb_rel_ci"]


class AttachmentLoader(Loader):
    """Attachments: what each is, and which record it hangs on (``table_name``, ``table_sys_id``).

    With ``text``, the content of those that are text (``text/*``, JSON, XML, YAML) and of ``max_size`` bytes at most
    stands in the document; ``text_included`` in the metadata tells whether it does. See ``Loader`` for the rest.
    """

    recipe = RECIPES["sys_attachment"]

    def __init__(
        self,
        connection: Connection,
        query: str = "",
        fields: Sequence[str] | None = None,
        *,
        text: bool = False,
        max_size: int = 1_000_000,
        **options: Unpack[Options],
    ) -> None:
        if text and isinstance(connection, Published):
            hint = "give a Client, or leave text out"
            raise ConfigError("the files of attachments are not published", key="text", value=text, hint=hint)
        if text and fields:
            fields = tuple(dict.fromkeys((*fields, *bodies.FIELDS)))
        super().__init__(connection, query, fields, **options)
        self._text, self._max_size = text, bodies.must_be_a_size(max_size)

    @property
    def _batch(self) -> int:
        return bodies.BATCH if self._text else super()._batch

    def _asks(self, batch: Sequence[Record]) -> Iterator[Ask]:
        yield from super()._asks(batch)
        if self._text:
            yield Ask("bodies", batch, self._max_size)

    def _below(self, sys_id: str, added: Added, metadata: dict[str, Any]) -> Iterator[str]:
        if not self._text:
            return
        body = added["bodies"].get(sys_id)
        metadata["text_included"] = body is not None
        if body:
            yield f"Content:\n{body}"


class CMDBLoader(Loader):
    """Configuration items of a class, and of the classes below it.

    With ``include_relationships``, what each is related to: a line per kind of relation, and ``relationships`` in the
    metadata. All relations are read at once, before the first document. See ``Loader`` for the rest.
    """

    def __init__(
        self,
        connection: Connection,
        query: str = "",
        fields: Sequence[str] | None = None,
        *,
        ci_class: str = "cmdb_ci",
        include_relationships: bool = False,
        **options: Unpack[Options],
    ) -> None:
        self.recipe = replace(RECIPES["cmdb_ci"], table=checked_name(ci_class, "ci_class"))
        super().__init__(connection, query, fields, **options)
        self._include_relationships = include_relationships
        if include_relationships:
            import_module("snow_assets.documents.cmdb")  # now: an event loop would wait for it

    def _asks(self, batch: Sequence[Record]) -> Iterator[Ask]:
        yield from super()._asks(batch)
        if self._include_relationships:
            yield Ask("relations", batch)

    def _below(self, sys_id: str, added: Added, metadata: dict[str, Any]) -> Iterator[str]:
        if not self._include_relationships:
            return
        from snow_assets.documents.cmdb import relation_lines, relation_values  # noqa: PLC0415 - it was read by then

        relations = added["relations"][sys_id]
        metadata["relationships"] = relation_values(relations)
        if relations:
            yield "\n".join(("Relationships:", *relation_lines(relations)))


class TableLoader(Loader):
    """Records of any table, by its recipe, or by its own fields where nobody described it.

    ``content_fields`` are the lines of the content, in this order. See ``Loader`` for the rest.
    """

    def __init__(
        self,
        connection: Connection,
        table: str,
        query: str = "",
        fields: Sequence[str] | None = None,
        *,
        content_fields: Sequence[str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        recipe = recipe_of(checked_name(table))
        shown = checked_fields(content_fields or (), "content_fields")
        if shown:
            recipe = recipe.only(shown)
            fields = (*fields, *shown) if fields else shown if any("." in name for name in shown) else None
        self.recipe = recipe
        super().__init__(connection, query, fields, **options)
        self._must_have = (*self._must_have, *shown)
