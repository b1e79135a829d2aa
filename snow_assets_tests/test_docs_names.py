"""What programs may use is explained where they look for it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import snow_assets
from snow_assets.documents import loaders
from snow_assets.documents.loader import Loader, Options
from snow_assets.pulls.library import lazy_pull_to, pull_to
from snow_assets.pulls.pulled import Pulled
from snow_assets.servicenow.aio import AsyncClient
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.records import Report

DOCS = Path(__file__).resolve().parent.parent / "docs"

# Of snowloader 0.8.1: what its package exports, then arguments and methods that programs use.
THEIRS = """
    SnowConnection AsyncSnowConnection SnowConnectionError SnowDocument BaseSnowLoader AsyncBaseSnowLoader
    IncidentLoader KnowledgeBaseLoader CMDBLoader ChangeLoader ProblemLoader CatalogLoader AttachmentLoader
    RelationshipLoader TableLoader AsyncIncidentLoader Checkpoint FileCheckpoint SweepReport SweepIncompleteError
    ReconciliationReport ReferenceField reference raw_value display_value expand_reference_keys is_sys_id parse_boolean
    parse_labelled_int
    instance_url username password client_id client_secret token page_size timeout max_retries retry_backoff
    request_delay order_by since_field proxy verify verify_ssl concurrency keep_alive
    get_records concurrent_get_records get_count get_record get_attachment reconcile get_deleted_records
    get_deletion_horizon get_table_descendants aget_records aconcurrent_get_records aget_count aget_record
    aget_attachment since verify=True on_error keyset checkpoint limit max_workers
    load lazy_load load_since concurrent_load concurrent_lazy_load aload alazy_load aload_since query fields
    include_journals expand_references include_raw ci_class include_relationships max_relationship_workers
    content_fields download max_size_bytes download_to iter_files aget_bytes filter_by_table
    excluded_llm_metadata_keys write_jsonl write_csv write_xlsx SNOW_INSTANCE SNOW_USER SNOW_PASS
"""


def code_of(name: str) -> str:
    """What a page shows as code, within its lines."""
    return " ".join(re.findall(r"`([^`\n]+)`", (DOCS / name).read_text(encoding="utf-8")))


def arguments(function: Callable[..., Any]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "options", "settings"}


def methods(kind: type) -> set[str]:
    return {name for name, value in vars(kind).items() if inspect.isfunction(value) and not name.startswith("_")}


def of_loaders() -> set[str]:
    """Arguments of the named loaders."""
    kinds = [kind for kind in vars(loaders).values() if inspect.isclass(kind) and issubclass(kind, Loader)]
    return set().union(*map(arguments, kinds))


def test_every_public_name_is_on_a_page() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    assert not [name for name in snow_assets.__all__ if f"`{name}" not in texts and name != "__version__"]


def test_every_public_name_is_there() -> None:
    assert [getattr(snow_assets, name) for name in snow_assets.__all__]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("records.md", arguments(Client) | arguments(Client.get_records) | arguments(Client.concurrent_get_records)),
        ("records.md", {field.name for field in fields(Report)} - {"table", "query", "since"}),
        ("async.md", methods(AsyncClient) - {"arun", "cancel"}),
        ("async.md", {"concurrency"}),
        ("loaders.md", arguments(Loader) | set(Options.__annotations__) | methods(Loader)),
        ("loaders.md", of_loaders()),
        ("python-pulls.md", arguments(pull_to) | arguments(lazy_pull_to)),
        ("python-pulls.md", methods(Pulled)),
    ],
)
def test_what_programs_may_say_is_explained(name: str, wanted: set[str]) -> None:
    words = set(re.findall(r"\w+", code_of(name)))
    assert not wanted - words


def test_what_users_of_snowloader_look_for_is_told() -> None:
    code = code_of("coming-from-snowloader.md")
    assert not [name for name in THEIRS.split() if name not in code]
