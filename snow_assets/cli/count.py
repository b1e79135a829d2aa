"""``snow-assets count``: rows of a table, by the instance."""

from __future__ import annotations

import click

from snow_assets.cli.app import App, command_options


@click.command()
@click.argument("table")
@click.option("--query", default="", help="An encoded query, such as active=true^priorityIN1,2.")
@command_options
def count(app: App, table: str, query: str) -> None:
    """Count the rows of TABLE that match, those included that this account may not read.

    A query with a field that does not exist is refused: the instance would drop the term and count all rows.
    """
    from snow_assets.servicenow.exchange import Tally
    from snow_assets.servicenow.honoured import must_be_honoured, visible_fields
    from snow_assets.servicenow.query import EncodedQuery

    parsed = EncodedQuery.parse(query)
    with app.client(table=table) as client:
        if parsed.fields:
            asked = ("sys_id", *parsed.fields)
            visible = client.run(visible_fields(table, asked, client.policy, Tally()))
            if visible is not None:
                must_be_honoured(parsed, visible, table)
        counted = client.get_count(table, query)
    app.result({"table": table, "query": query, "count": counted}, [str(counted)])
