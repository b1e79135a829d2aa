"""A client for one ServiceNow instance, usable without Dagster.

::

    from snow_assets.servicenow import Client

    with Client("https://acme.service-now.com", username="u", password="p") as client:
        print(client.get_count("incident", "active=true"))
        for record in client.concurrent_get_records("incident", "active=true", fields=["number", "state"]):
            ...
"""

from __future__ import annotations

from snow_assets.config import Credentials
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.records import IncompleteWarning, Records, Report

__all__ = ["Client", "Credentials", "EncodedQuery", "IncompleteWarning", "Records", "Report"]
