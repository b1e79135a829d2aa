"""``snow-assets plan``: a dry run."""

from __future__ import annotations

from collections.abc import Iterator

import click

from snow_assets.cli.app import App, command_options, complete_pull
from snow_assets.cli.estimate import Estimate, human_bytes, human_seconds
from snow_assets.config import PullConfig


@click.command()
@click.argument("name", shell_complete=complete_pull)
@command_options
def plan(app: App, name: str) -> None:
    """Show what the pull NAME would ask for: rows, slices, requests, time, bytes. Writes nothing.

    Asks the instance for its count and columns, proves that the query is honoured, and looks at a sample of 100 rows.
    """
    from snow_assets.cli.estimate import estimate
    from snow_assets.pulls import look, published_chain

    pull = app.settings.pull(name)
    with app.client(pull) as client:
        preview = look(pull, client, published_chain(app.landing(name)))
        found = estimate(preview, pull, client)
    window = preview.window.term if preview.window else None
    data = {"pull": name, "table": pull.table, "query": pull.query, "as_of": preview.as_of.isoformat()}
    estimated = {"mode": pull.mode, "window": window, **found.as_dict()}
    app.result({**data, "fields": list(preview.fields), **estimated}, _lines(pull, window, found))


def _lines(pull: PullConfig, window: str | None, found: Estimate) -> Iterator[str]:
    rows = "unknown: the instance does not count" if found.counted is None else f"{found.counted:,}"
    slices = "unknown" if found.slices is None else f"about {found.slices:,} of {found.slice_rows:,} rows"
    yield f"pull      {pull.name}: {pull.table}, {pull.query or 'all rows'}"
    if pull.mode == "delta":
        yield f"window    {window or 'none: a new base'}"
    yield f"rows      {rows}"
    yield f"columns   {found.columns}"
    yield f"slices    {slices}"
    yield f"requests  {'unknown' if found.requests is None else f'about {found.requests:,}'}"
    yield f"bytes     {'' if found.bytes is None else 'about '}{human_bytes(found.bytes)} of JSON"
    about = "" if found.seconds is None else "about "
    yield f"time      {about}{human_seconds(found.seconds)}, {found.at_a_time} requests at a time"
