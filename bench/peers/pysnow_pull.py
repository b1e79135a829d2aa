"""Read all incidents with pysnow, in pages, through the proxy of the environment: one line per row, in order of sys_id.

Usage: pysnow_pull.py HOST USER PASSWORD
"""

from __future__ import annotations

import sys

import pysnow

PAGE = 100


def main(host: str, user: str, password: str) -> None:
    """Print sys_id, number and caller of every incident, tab-separated."""
    client = pysnow.Client(host=host, user=user, password=password, use_ssl=False)
    client.parameters.exclude_reference_link = True
    incidents = client.resource(api_path="/table/incident")
    query = pysnow.QueryBuilder().field("sys_id").is_not_empty().AND().field("sys_id").order_ascending()
    offset = 0
    while True:
        answer = incidents.get(
            query=query, limit=PAGE, offset=offset, fields=["sys_id", "number", "caller_id"], stream=True
        )
        rows = list(answer.all())
        for row in rows:
            print(row["sys_id"], row["number"], row["caller_id"], sep="\t")
        if not rows:
            return
        offset += PAGE


if __name__ == "__main__":
    main(*sys.argv[1:])
