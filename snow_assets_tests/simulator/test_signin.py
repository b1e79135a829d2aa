"""Signing in, tokens, sessions, and the limits of an instance."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlencode

import pytest

from snow_assets.simulator import HiddenRows, Knobs, OAuthClient, RateRule, SimulatorServer

from .conftest import Ask, Got, ask

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PASSWORD = {"grant_type": "password", "client_id": "client", "client_secret": "secret"}


def token(server: SimulatorServer, **form: str) -> Got:
    wanted = {**PASSWORD, "username": "admin", "password": "admin", **form}
    return ask(server, "/oauth_token.do", method="POST", login="", headers=FORM, body=urlencode(wanted))


def with_token(server: SimulatorServer, value: str) -> Got:
    return ask(server, "table/incident", login="", headers={"Authorization": f"Bearer {value}"}, sysparm_limit=1)


@pytest.mark.parametrize("login", ["", "admin:wrong", "nobody:admin"])
def test_wrong_credentials(get: Ask, login: str) -> None:
    got = get("table/incident", login=login)
    assert got.status == 401
    assert got.error == ("User Not Authenticated", "Required to provide Auth information")
    assert got.headers["WWW-Authenticate"] == 'BASIC realm="Service-now"'
    assert got.headers["Connection"] == "close"


def test_api_keys(get: Ask) -> None:
    assert get("table/incident", login="", headers={"x-sn-apikey": "now_key"}).status == 200
    assert get("table/incident", login="", **{"x-sn-apikey": "now_key"}).status == 200
    assert get("table/incident", login="", headers={"x-sn-apikey": "other"}).status == 401


def test_the_same_token_until_it_expires(small: SimulatorServer) -> None:
    first = token(small).json
    assert (first["token_type"], first["scope"], first["expires_in"]) == ("Bearer", "useraccount", 1_799)
    small.sim.clock.advance(seconds=1_797)
    again = token(small).json
    assert again["access_token"] == first["access_token"]
    assert again["expires_in"] <= 2
    assert with_token(small, first["access_token"]).status == 200
    small.sim.clock.advance(seconds=4)
    assert with_token(small, first["access_token"]).status == 401
    new = token(small).json
    assert new["access_token"] != first["access_token"]
    assert with_token(small, new["access_token"]).status == 200


def test_refresh_and_revocation(small: SimulatorServer) -> None:
    first = token(small).json
    second = token(small, grant_type="refresh_token", refresh_token=first["refresh_token"]).json
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] == first["refresh_token"]
    small.sim.tokens.revoke()
    assert with_token(small, second["access_token"]).status == 401
    small.sim.tokens.revoke(refresh=True)
    assert token(small, grant_type="refresh_token", refresh_token=first["refresh_token"]).status == 401


def test_client_credentials(small: SimulatorServer) -> None:
    got = token(small, grant_type="client_credentials", username="", password="")
    assert got.status == 200
    assert "refresh_token" not in got.json
    small.sim.knobs.oauth_clients["client"] = OAuthClient("client", "secret")
    assert token(small, grant_type="client_credentials").status == 401


@pytest.mark.parametrize(
    "form",
    [
        {"client_secret": "wrong"},
        {"password": "wrong"},
        {"username": "lucy", "password": "pw"},  # may not sign in interactively
        {"grant_type": "unheard_of"},
        {"grant_type": "refresh_token", "refresh_token": ""},
    ],
)
def test_every_failure_looks_alike(small: SimulatorServer, form: dict[str, str]) -> None:
    got = token(small, **form)
    assert (got.status, got.json) == (401, {"error_description": "access_denied", "error": "server_error"})


def test_secrets_belong_in_a_form(small: SimulatorServer) -> None:
    secrets: dict[str, Any] = {**PASSWORD, "username": "admin", "password": "admin"}
    assert ask(small, "/oauth_token.do", method="POST", login="", headers=FORM, body="", **secrets).status == 401
    json_type = {"Content-Type": "application/json"}
    assert ask(small, "/oauth_token.do", method="POST", login="", headers=json_type, body="{}").status == 401


def test_basic_may_be_forbidden(get: Ask, knobs: Knobs, small: SimulatorServer) -> None:
    knobs.basic_allowed = False
    got = get("table/incident")
    assert (got.status, got.headers["WWW-Authenticate"]) == (401, 'BEARER realm="Service-now"')
    assert with_token(small, token(small).json["access_token"]).status == 200


def test_a_session_lasts(get: Ask, small: SimulatorServer) -> None:
    first = get("table/incident")
    names = [cookie.partition("=")[0] for cookie in first.cookies]
    assert names == ["JSESSIONID", "glide_user_route", "BIGipServerpool_simulator"]
    cookie = {"Cookie": "; ".join(one.partition(";")[0] for one in first.cookies)}
    again = get("table/incident", login="", headers=cookie)
    assert (again.status, again.cookies) == (200, [])
    small.sim.sessions.end_all()
    assert get("table/incident", login="", headers=cookie).status == 401
    assert len({entry.session for entry in small.requests.find(status=200)}) == 1


def at_once(count: int, send: Any) -> list[Got]:
    """So many requests at the same time."""
    found: list[Got] = []
    threads = [threading.Thread(target=lambda: found.append(send())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_too_many_on_one_session_are_dropped_with_202(get: Ask, knobs: Knobs) -> None:
    cookie = {"Cookie": get("table/incident").cookies[0].partition(";")[0]}
    knobs.latency = 0.3
    found = at_once(20, lambda: get("stats/incident", headers=cookie, sysparm_count="true"))
    dropped = [one for one in found if one.status == 202]
    assert len(dropped) >= 5
    assert all(one.body == b"" and one.headers["Content-Length"] == "0" for one in dropped)
    assert len([one for one in found if one.status == 200]) >= 11


def test_a_full_node_answers_429_without_headers(get: Ask, knobs: Knobs) -> None:
    knobs.nodes, knobs.node_slots, knobs.node_queue, knobs.latency = 1, 1, 2, 0.3
    found = at_once(12, lambda: get("stats/incident", sysparm_count="true"))
    refused = [one for one in found if one.status == 429]
    assert len(refused) >= 5
    assert not any(name.startswith(("X-RateLimit", "Retry-After")) for one in refused for name in one.headers)
    waited = [int(one.headers["Server-Timing"].split("dur=")[1].split(",")[0]) for one in found if one.status == 200]
    assert max(waited) >= 100


def test_a_rate_rule(get: Ask, knobs: Knobs, small: SimulatorServer) -> None:
    knobs.rate_rules = [RateRule(2)]
    answers = [get("table/incident") for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    headers = answers[2].headers
    assert headers["X-RateLimit-Limit"] == answers[0].headers["X-RateLimit-Limit"] == "2"
    assert int(headers["X-RateLimit-Reset"]) % 3_600 == 0
    assert 0 < int(headers["Retry-After"]) <= 3_600
    assert "X-RateLimit-Remaining" not in headers
    small.sim.clock.advance(hours=1)
    assert get("table/incident").status == 200


@pytest.mark.parametrize(("shape", "status"), [("a", 500), ("b", 200), ("c", 200)])
def test_what_takes_longer_than_the_quota_is_cancelled(get: Ask, knobs: Knobs, shape: Any, status: int) -> None:
    knobs.latency_per_cell, knobs.quota, knobs.quota_shape = 0.01, 0.05, shape
    got = get("table/incident", sysparm_fields="number,state")
    assert got.status == status
    assert b"Transaction cancelled: maximum execution time exceeded" in got.body
    if shape == "b":
        assert len(got.rows) == 3
    if shape == "c":
        with pytest.raises(ValueError, match="delimiter"):
            _ = got.json
    assert get("table/incident", sysparm_fields="number", sysparm_limit=2).status == 200


def test_hidden_rows_of_one_user_only(get: Ask, knobs: Knobs) -> None:
    knobs.hidden_rows = [HiddenRows("incident", fraction=1.0, user="lucy")]
    assert len(get("table/incident").rows) == 7
    assert get("table/incident", login="lucy:pw").rows == []
