"""The documents that a pull declares: which loader makes them, and of what."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Unpack

import msgspec
from pydantic import ValidationError

from snow_assets import __version__
from snow_assets.config import DocumentsConfig, Environment, PullConfig
from snow_assets.config_wording import message_of
from snow_assets.documents.document import Document
from snow_assets.documents.export import Export, Source, export_documents, home_of
from snow_assets.documents.loader import Loader, Options
from snow_assets.documents.loaders import CMDBLoader, TableLoader
from snow_assets.documents.published import Published
from snow_assets.documents.recipes import RECIPES, Recipe, recipe_of
from snow_assets.errors import ConfigError
from snow_assets.pulls.landing import Landing
from snow_assets.pulls.lease import lease
from snow_assets.pulls.live import live_rows
from snow_assets.reader import data_of


class _RecipeLoader(Loader):
    """Records of any table, by a recipe that is given."""

    def __init__(
        self, recipe: Recipe, published: Published, fields: Sequence[str] | None, **options: Unpack[Options]
    ) -> None:
        self.recipe = recipe
        super().__init__(published, "", fields, **options)


def write_documents(
    pull: str,
    wanted: DocumentsConfig | None = None,
    *,
    data: str | None = None,
    again: bool = False,
    holder: str = "write_documents",
) -> Export:
    """Export the published rows of ``pull`` as documents, as ``wanted`` says, and what changed since the last time.

    ``data`` is the folder or URL of the landings; ``SNOW_DATA_DIR`` (``data``) when left out. What was exported before
    is told as it is; ``again`` writes every file anew. ``holder`` tells others who is at it.

    Raises ``ConfigError`` where something is not published, ``PlanIncomplete`` where there is not one document for
    each row, ``LeaseHeld`` where somebody else writes them, and ``LandingError`` for the disk.
    """
    landing = Landing.open(data or Environment.load().data_dir, pull)
    table = landing.read_plan(live_rows(landing).plan).table
    try:
        declared = PullConfig(name=landing.pull, table=table, documents=wanted or DocumentsConfig())
    except ValidationError as error:
        raise ConfigError(message_of(error.errors(include_url=False)[0]), key="wanted") from None
    other_plans(declared, landing)  # nothing is made where something is not published
    with lease(home_of(landing), f"{holder}, process {os.getpid()}"):
        return export_declared(declared, landing, again=again)


def export_declared(pull: PullConfig, landing: Landing, *, again: bool = False) -> Export:
    """Export the documents of what is published now, as the pull declares them; see ``export_documents``."""
    return export_documents(landing, lambda: source_of(pull, landing), again=again)


def source_of(pull: PullConfig, landing: Landing) -> Source:
    """What the documents are made of now. Raises ``ConfigError`` where a pull of it has published nothing yet."""
    wanted = pull.documents or DocumentsConfig()
    loader = loader_of(pull, landing)

    def read() -> Iterator[Document]:
        documents = loader.lazy_load()
        try:
            yield from documents
        finally:
            documents.close()

    return Source(read, _fingerprint(wanted, loader), other_plans(pull, landing))


def loader_of(pull: PullConfig, landing: Landing) -> Loader:
    """The loader of a pull's documents. Raises ``ConfigError`` where an extra is missing."""
    wanted = pull.documents or DocumentsConfig()
    published = Published(
        landing.pull, data_of(landing), journals=wanted.include_journals, relations=wanted.include_relationships
    )
    options = Options(
        include_journals=wanted.include_journals is not None,
        expand_references=wanted.expand_references,
        include_raw=wanted.include_raw,
        content_template=wanted.content_template,
    )
    if wanted.content_fields:
        return TableLoader(published, pull.table, "", wanted.fields, content_fields=wanted.content_fields, **options)
    if wanted.include_relationships:
        return CMDBLoader(published, "", wanted.fields, ci_class=pull.table, include_relationships=True, **options)
    recipe = RECIPES[wanted.loader] if wanted.loader else recipe_of(pull.table)
    return _RecipeLoader(replace(recipe, table=pull.table), published, wanted.fields, **options)


def other_plans(pull: PullConfig, landing: Landing) -> dict[str, str]:
    """The newest plan of each other pull that documents are made of.

    Raises ``ConfigError`` where one has published nothing yet.
    """
    others = (pull.documents or DocumentsConfig()).other_pulls
    data = data_of(landing)
    return {name: live_rows(Landing.open(data, name)).plan for name, _ in others.values()}


def unpublished(pull: PullConfig, landing: Landing) -> str:
    """The pull that documents wait for, since it has published nothing yet; else ``""``."""
    others = (pull.documents or DocumentsConfig()).other_pulls
    data = data_of(landing)
    for name in (landing.pull, *(name for name, _ in others.values())):
        try:
            live_rows(Landing.open(data, name))
        except ConfigError:
            return name
    return ""


def _fingerprint(wanted: DocumentsConfig, loader: Loader) -> str:
    """Of how documents are made. Another version of this software may word them in another way."""
    made = [__version__, wanted.model_dump(mode="json"), asdict(loader.recipe) if loader.recipe else None]
    return hashlib.sha256(msgspec.json.encode(made, order="deterministic")).hexdigest()[:16]
