"""One loader per table that people ask for, and one for any table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from snow_assets.documents.loader import Connection, Loader, loader_recipe
from snow_assets.documents.recipes import RECIPES


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
    """Attachments: what each is, and which record it hangs on."""

    recipe = RECIPES["sys_attachment"]


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
        include_journals: bool = False,
        expand_references: bool = True,
        include_raw: bool = False,
        content_template: str | None = None,
    ) -> None:
        recipe = loader_recipe(table)
        if content_fields:
            recipe = replace(recipe.showing(tuple(content_fields)), title=())
        self._begin(
            recipe, connection, query, fields, include_journals, expand_references, include_raw, content_template
        )


class CMDBLoader(Loader):
    """Configuration items of a class, and of the classes below it. See ``Loader`` for the rest."""

    def __init__(
        self,
        connection: Connection,
        query: str = "",
        fields: Sequence[str] | None = None,
        *,
        ci_class: str = "cmdb_ci",
        include_journals: bool = False,
        expand_references: bool = True,
        include_raw: bool = False,
        content_template: str | None = None,
    ) -> None:
        recipe = replace(RECIPES["cmdb_ci"], table=loader_recipe(ci_class).table)
        self._begin(
            recipe, connection, query, fields, include_journals, expand_references, include_raw, content_template
        )
