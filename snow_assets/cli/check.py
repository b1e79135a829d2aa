"""``snow-assets check``: is the instance reached, who are we there, and can what is declared be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull, table_lines
from snow_assets.cli.failures import Reported
from snow_assets.errors import CredentialsError, HostError, InstanceUnavailable, SnowError

if TYPE_CHECKING:
    from snow_assets.config import PullConfig
    from snow_assets.servicenow.account import Account
    from snow_assets.servicenow.client import Client

SIGN_IN = {
    "bearer": "a bearer token (SNOW_TOKEN)",
    "api_key": "an API key (SNOW_API_KEY)",
    "oauth_refresh_token": "OAuth, refresh token (SNOW_CLIENT_ID and SNOW_REFRESH_TOKEN)",
    "oauth_password": "OAuth, password grant (SNOW_CLIENT_ID and SNOW_USERNAME)",
    "oauth_client_credentials": "OAuth, client credentials (SNOW_CLIENT_ID)",
    "basic": "user name and password (SNOW_USERNAME)",
}


@click.command()
@click.argument("names", nargs=-1, shell_complete=complete_pull)
@command_options
def check(app: App, names: tuple[str, ...]) -> None:
    """Reach the instance, say who we are there, and look at every declared pull (or at NAMES).

    For each pull: is its table readable, are its fields there, is its query honoured (an instance drops a term that it
    does not understand, and then all rows come back), how many rows match. Exit code 2 where a pull cannot work.
    """
    pulls = [app.settings.pull(name) for name in names] or list(app.settings.pulls.values())
    with app.client() as client:
        head = _instance(client)
    found = [_look(app, pull) for pull in pulls]
    errors = [each["error"] for each in found if each["error"] is not None]
    data: dict[str, Any] = {**head, "pulls": [{**each, "error": _plain(each["error"])} for each in found]}
    if errors:
        worst = max(errors, key=lambda error: error.exit_code)
        data |= {"error": worst.as_dict(), "retryable": worst.exit_code == 1}
    app.result(data, _lines(head, found))
    if errors:
        raise Reported(max(error.exit_code for error in errors))


def _instance(client: Client) -> dict[str, Any]:
    """What is the same for every pull. Raises where it is not reached, refuses us or fails to say who we are."""
    from snow_assets.servicenow.account import account
    from snow_assets.servicenow.exchange import Tally

    who: Account = client.run(account(client.policy, Tally(), username=client.username))
    return {
        "instance": client.url,
        "sign_in": client.credentials.kind,
        "account": who.user_name,
        "sys_id": who.sys_id,
        "time_zone": who.time_zone,
        "date_format": who.date_format,
        "clock": client.clock().isoformat(),
    }


def _look(app: App, pull: PullConfig) -> dict[str, Any]:
    """How one pull would fare. What concerns every pull is raised."""
    from snow_assets.pulls import look

    found: dict[str, Any] = {"pull": pull.name, "table": pull.table, "query": pull.query, "readable": False}
    found |= {"query_honoured": None, "fields": None, "counted": None, "error": None}
    try:
        with app.client(pull) as client:
            preview = look(pull, client)
    except (CredentialsError, HostError, InstanceUnavailable):
        raise
    except SnowError as error:
        error.key = f"pulls.{pull.name}.{error.key}" if error.key in ("table", "query", "fields") else error.key
        honoured = False if error.key.endswith(".query") else None
        return {**found, "query_honoured": honoured, "error": error}
    seen = bool(preview.probed)
    proven = True if seen and preview.query.fields else None
    return {
        **found,
        "readable": seen,
        "query_honoured": proven,
        "fields": len(preview.fields),
        "counted": preview.counted,
    }


def _plain(error: SnowError | None) -> dict[str, str] | None:
    return None if error is None else error.as_dict()


def _lines(head: dict[str, Any], found: list[dict[str, Any]]) -> Iterator[str]:
    yield f"instance   {head['instance']}"
    yield f"sign-in    {SIGN_IN[head['sign_in']]}"
    yield f"account    {head['account'] or 'unknown: it may not read its own sys_user row'}"
    yield f"time zone  {head['time_zone'] or 'unknown'}"
    yield f"clock      {head['clock']}"
    yield ""
    yield from table_lines(("pull", "table", "rows", "columns", "finding"), [_row(each) for each in found])


def _row(each: dict[str, Any]) -> tuple[object, ...]:
    error = each["error"]
    if error is not None:
        finding = f"error: {error}"
    elif not each["readable"]:
        finding = "no row is visible to this account"
    else:
        finding = "readable" + (", query honoured" if each["query_honoured"] else "")
    return (each["pull"], each["table"], each["counted"], each["fields"], finding)
