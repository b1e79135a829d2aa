"""A client for one ServiceNow instance, usable without Dagster.

::

    from snow_assets.servicenow import Client

    with Client("https://acme.service-now.com", username="u", password="p") as client:
        print(client.get_count("incident", "active=true"))
        for record in client.concurrent_get_records("incident", "active=true", fields=["number", "state"]):
            ...

``AsyncClient`` is its twin for asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snow_assets.config import Credentials
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.records import IncompleteWarning, Records, Report

if TYPE_CHECKING:
    from snow_assets.servicenow.aio import AsyncClient

__all__ = ["AsyncClient", "Client", "Credentials", "EncodedQuery", "IncompleteWarning", "Records", "Report"]


def __getattr__(name: str) -> Any:
    """Import what asyncio needs only where it is asked for."""
    if name == "AsyncClient":
        from snow_assets.servicenow.aio import AsyncClient  # noqa: PLC0415 - see above

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
