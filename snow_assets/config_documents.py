"""The section ``documents`` of a pull in ``pulls.yaml``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from snow_assets.config_schedule import Section

JOURNALS: Final = "sys_journal_field"
RELATIONS: Final = "cmdb_rel_ci"
RELATED: Final = "cmdb_ci"

Loader = Literal[
    "incident",
    "kb_knowledge",
    "cmdb_ci",
    "change_request",
    "problem",
    "sc_cat_item",
    "sys_attachment",
    "sys_journal_field",
    "cmdb_rel_ci",
]


class DocumentsConfig(Section):
    """How the rows of a pull become documents; by the recipe of its table where nothing else is said.

    ``loader`` is the table whose recipe is taken. ``content_fields`` are the lines of the text instead, and
    ``content_template``, in Jinja2, is all of it. ``fields`` are what documents are made of, and ``include_journals``
    and ``include_relationships`` name the pulls that land those.
    """

    loader: Loader | None = None
    fields: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    content_fields: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    content_template: str | None = None
    include_journals: str | None = None
    include_relationships: str | None = None
    expand_references: Annotated[bool, Field(strict=True)] = True
    include_raw: Annotated[bool, Field(strict=True)] = False

    @field_validator("content_template")
    @classmethod
    def _check_template(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from jinja2 import Environment, TemplateSyntaxError  # noqa: PLC0415 - few pulls have one

        try:
            Environment(autoescape=False).parse(value)  # noqa: S701 - text, not HTML
        except TemplateSyntaxError as error:
            raise ValueError(f"is not a Jinja2 template: line {error.lineno}: {error.message}") from None
        return value

    @model_validator(mode="after")
    def _check_one_way(self) -> DocumentsConfig:
        given = [name for name in ("loader", "content_fields") if getattr(self, name)]
        if len(given) == 2:
            raise ValueError("loader and content_fields both say which lines there are: keep one of them")
        if self.include_relationships and given and self.loader != RELATED:
            raise ValueError(f"include_relationships belongs to the loader cmdb_ci: take {given[0]} out")
        return self

    @property
    def other_pulls(self) -> Mapping[str, tuple[str, str]]:
        """The pulls that documents are made of besides their own, and the table of each, by key of this section."""
        named = {
            "include_journals": (self.include_journals, JOURNALS),
            "include_relationships": (self.include_relationships, RELATIONS),
        }
        return {key: (name, table) for key, (name, table) in named.items() if name is not None}


def check_documents(value: DocumentsConfig, pull: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` where a pull with these keys lands nothing that documents can be made of."""
    display_value = pull.get("display_value")
    if display_value in ("true", "false"):
        raise ValueError(f"needs labels and stored values, and display_value: {display_value} has not both")
    table = str(pull.get("table") or RELATED)
    if value.include_relationships and value.loader is None and not f"{table}_".startswith(f"{RELATED}_"):
        raise ValueError(f"{table} has no relations: take include_relationships out, or say loader: {RELATED}")
    if pull.get("key"):
        raise ValueError("needs rows with a sys_id, so the pull cannot have a key of its own")
    landed = pull.get("fields")
    missing = [name for name in _fields(value) if landed is not None and name not in landed]
    if missing:
        raise ValueError(f"is made of {', '.join(missing)}, which is not among the pull's fields")


def _fields(value: DocumentsConfig) -> Iterator[str]:
    yield from value.fields or ()
    yield from value.content_fields or ()
