"""Every way to sign in, through whole pulls by many threads; tokens that end and endpoints that fail in the middle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from snow_assets.config import Credentials
from snow_assets.errors import Cancelled, CredentialsError, InstanceUnavailable
from snow_assets.pulls import Failed
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Knobs, OAuthClient, Simulator, SimulatorServer
from snow_assets.simulator.knobs import Account
from snow_assets_tests.cli.conftest import Folder
from snow_assets_tests.pulls.conftest import Workbench

ROWS = 300
WORKERS = 8
USER, PASSWORD = "zoë.müller", "pä:ss\"w'ö rd€ &=+#%41"
CLIENT, CLIENT_SECRET = "client/ü", 's:e"c&r=e+t%'
KINDS = ("basic", "bearer", "api_key", "oauth_password", "oauth_client_credentials", "oauth_refresh_token")
OAUTH = KINDS[3:]
FIELD_OF = {name: field for field, name in Credentials.VARIABLES.items()}


def post_for_token(server: SimulatorServer, **form: str) -> dict[str, Any]:
    """What the token endpoint gives to someone else: the user with a browser, before the pull."""
    whole = {"client_id": CLIENT, "client_secret": CLIENT_SECRET, **form}
    answer = requests.post(
        f"{server.url}/oauth_token.do",
        data=urlencode(whole),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        timeout=60,
    )
    answer.raise_for_status()
    given: dict[str, Any] = answer.json()
    return given


def variables_of(server: SimulatorServer, kind: str) -> dict[str, str]:
    """The variables of a way to sign in."""
    user = {"SNOW_USERNAME": USER, "SNOW_PASSWORD": PASSWORD}
    client = {"SNOW_CLIENT_ID": CLIENT, "SNOW_CLIENT_SECRET": CLIENT_SECRET}
    if kind in ("bearer", "oauth_refresh_token"):
        issued = post_for_token(server, grant_type="password", username=USER, password=PASSWORD)
        given = {"bearer": {"SNOW_TOKEN": issued["access_token"]}}
        return given.get(kind) or {**client, "SNOW_REFRESH_TOKEN": issued["refresh_token"]}
    return {
        "basic": user,
        "api_key": {"SNOW_API_KEY": "an-API+key/="},
        "oauth_password": user | client,
        "oauth_client_credentials": client,
    }[kind]


class Signed(Workbench):
    """A pull in 15 slices that signs in in one of the ways."""

    def __init__(self, server: SimulatorServer, data: Path, kind: str, **config: Any) -> None:
        super().__init__(server, data, page_size=10, slice_rows=20, max_workers=WORKERS, **config)
        given = {FIELD_OF[name]: value for name, value in variables_of(server, kind).items()}
        self.credentials = Credentials.model_validate(given)
        assert self.credentials.kind == kind
        server.requests.clear()

    @contextmanager
    def client(self, **settings: Any) -> Iterator[Client]:
        quick: dict[str, Any] = {"retry_backoff": 0.01, "max_retries": self.pull.max_retries, "max_workers": WORKERS}
        with Client(self.server.url, self.credentials, **(quick | settings)) as client:
            yield client

    @property
    def tokens_asked(self) -> int:
        return len(self.server.requests.find(path="/oauth_token.do"))

    @property
    def refusals(self) -> int:
        return len(self.server.requests.find(status=401))


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=3).serve() as server:
        yield server


@pytest.fixture
def server(shared: SimulatorServer) -> Iterator[SimulatorServer]:
    """An instance that knows one user, one OAuth client and one API key, all with odd characters."""
    sim = shared.sim
    sim.faults.clear()
    sim.watchers.clear()
    knobs = sim.knobs
    fresh = Knobs(
        accounts={USER: Account(USER, PASSWORD)},
        oauth_clients={CLIENT: OAuthClient(CLIENT, CLIENT_SECRET, USER)},
        api_keys={"an-API+key/=": USER},
    )
    for name in ("accounts", "oauth_clients", "api_keys", "access_token_seconds", "latency"):
        setattr(knobs, name, getattr(fresh, name))
    sim.tokens.revoke(refresh=True)
    sim.requests.clear()
    yield shared
    sim.watchers.clear()
    sim.faults.clear()


def at_page(server: SimulatorServer, numbers: set[int], act: Callable[[], None]) -> None:
    """Call ``act`` right before the so-manieth request for incidents is answered."""
    pages = count(1)

    def watch(asked: Any) -> None:
        if asked.path.endswith("/table/incident") and next(pages) in numbers:
            act()

    server.sim.watchers.append(watch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_pull(server: SimulatorServer, tmp_path: Path, kind: str) -> None:
    bench = Signed(server, tmp_path / "data", kind)
    totals = bench.pull_all()
    assert (totals.landed, totals.counted) == (ROWS, ROWS)
    assert bench.refusals == 0
    assert bench.tokens_asked == (2 if kind in OAUTH else 0), "one for each client, whatever its threads"
    assert {entry.user for entry in server.requests if entry.kind == "list"} == {USER}


@pytest.mark.parametrize("kind", OAUTH)
def test_tokens_that_end_in_mid_pull_are_renewed_once_for_all_threads(
    server: SimulatorServer, tmp_path: Path, kind: str
) -> None:
    bench = Signed(server, tmp_path / "data", kind)
    ends = {1, 9, 17, 25, 33}
    at_page(server, ends, server.sim.tokens.revoke)
    issued = server.sim.tokens.issued
    totals = bench.pull_all()
    assert totals.landed == ROWS
    assert bench.refusals > 0
    # One token for each of two clients, and one for each end of a token; however many threads had it.
    assert bench.tokens_asked <= 2 + len(ends)
    assert server.sim.tokens.issued - issued <= 2 + len(ends)


@pytest.mark.parametrize(
    "kind", ["oauth_client_credentials", pytest.param("oauth_refresh_token", marks=pytest.mark.slow)]
)
def test_tokens_that_live_for_two_seconds(server: SimulatorServer, tmp_path: Path, kind: str) -> None:
    server.sim.knobs.access_token_seconds = 2
    server.sim.knobs.latency = 0.15
    bench = Signed(server, tmp_path / "data", kind)
    server.sim.tokens.revoke()
    issued, began = server.sim.tokens.issued, time.monotonic()
    assert bench.pull_all().landed == ROWS
    seconds, issued = time.monotonic() - began, server.sim.tokens.issued - issued
    assert issued >= 2, "they did end in the middle"
    # A client asks when 0.9 s have passed since it asked before, or when a token was refused.
    assert bench.tokens_asked <= 2 * (seconds / 0.9 + 1) + issued


@pytest.mark.parametrize("kind", ["basic", "api_key"])
def test_a_session_that_ends_in_mid_pull(server: SimulatorServer, tmp_path: Path, kind: str) -> None:
    bench = Signed(server, tmp_path / "data", kind)
    server.faults.add({"kind": "unauthorized_401", "table": "incident", "after": 30, "times": 1})
    assert bench.pull_all().landed == ROWS
    assert bench.refusals == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_for_good_in_mid_pull_ends_it(server: SimulatorServer, tmp_path: Path, kind: str) -> None:
    bench = Signed(server, tmp_path / "data", kind)
    plan = bench.plan().plan
    server.requests.clear()
    at_last: list[int] = []

    def end() -> None:
        knobs, tokens = server.sim.knobs, server.sim.tokens
        tokens.revoke(refresh=True)
        knobs.accounts, knobs.oauth_clients, knobs.api_keys = {}, {}, {}
        at_last.append(len(server.requests))

    at_page(server, {12}, end)
    failed = [result.error for result in bench.land(plan) if isinstance(result, Failed)]
    assert {type(error) for error in failed} <= {CredentialsError, Cancelled}
    [error, *_] = [error for error in failed if isinstance(error, CredentialsError)]
    assert error.exit_code == 2
    assert PASSWORD not in str(error)
    # Each thread may ask once more in a new session, and once for a token; nothing that was queued is sent.
    assert len(server.requests) - at_last[0] <= 3 * WORKERS + 1
    assert bench.tokens_asked <= (3 if kind in OAUTH else 0), "to begin with, to renew, and the grant itself"


@pytest.mark.parametrize(
    ("fault", "times"), [("error_500", 2), ("html_503", 2), ("empty_body", 2), ("hang_up", 2), ("rate_limited_429", 1)]
)
def test_a_token_endpoint_that_fails_for_a_while(
    server: SimulatorServer, tmp_path: Path, fault: str, times: int
) -> None:
    bench = Signed(server, tmp_path / "data", "oauth_client_credentials")
    plan = bench.plan().plan
    server.requests.clear()

    def end() -> None:
        server.sim.tokens.revoke()
        wait = {"retry_after": 1} if fault.startswith("rate") else {}
        server.faults.add({"kind": fault, "request": "token", "times": times, **wait})

    at_page(server, {10}, end)
    failed = [result for result in bench.land(plan) if isinstance(result, Failed)]
    assert not failed
    assert set(bench.ids(plan).values()) == {1}
    assert sum(bench.ids(plan).values()) == ROWS
    whole = [entry for entry in server.requests.find(kind="list") if entry.path.endswith("/incident")]
    limits = {entry.params["sysparm_limit"] for entry in whole if entry.params.get("sysparm_fields") != "sys_id"}
    assert limits <= {"10", "11"}, "no page was made smaller because a token was missing"


@pytest.mark.parametrize("fault", ["error_500", "html_503", "hang", "null_body", "truncated_length", "hibernating"])
def test_a_token_endpoint_that_stays_down_is_an_outage(server: SimulatorServer, fault: str) -> None:
    server.faults.add({"kind": fault, "request": "token"})
    given = variables_of(server, "oauth_client_credentials")
    credentials = Credentials.model_validate({FIELD_OF[name]: value for name, value in given.items()})
    with (
        Client(server.url, credentials, retry_backoff=0.01, max_retries=1, timeout=(0.5, 0.5), max_wait=0.2) as client,
        pytest.raises(InstanceUnavailable) as caught,
    ):
        client.get_count("incident")
    assert CLIENT_SECRET not in str(caught.value)
    assert {entry.path for entry in server.requests} == {"/oauth_token.do"}


@pytest.mark.parametrize("kind", KINDS)
def test_check_says_which_way_it_is(server: SimulatorServer, tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path, {"SNOW_INSTANCE_URL": server.url, **variables_of(server, kind)})
    folder.write("pulls: {incidents: {table: incident, fields: [number]}}\n")
    done = folder.call("check", "--json")
    assert (done.code, done.json["sign_in"]) == (0, kind), done
    shown = folder.call("check")
    [line] = [line for line in shown.out.splitlines() if line.startswith("sign-in")]
    names = [name for name in variables_of(server, kind) if name in line]
    assert names, line


def test_a_refresh_token_that_ended_is_one_clear_line(server: SimulatorServer, tmp_path: Path) -> None:
    variables = variables_of(server, "oauth_refresh_token")
    server.sim.tokens.revoke(refresh=True)
    server.requests.clear()
    folder = Folder(tmp_path, {"SNOW_INSTANCE_URL": server.url, **variables})
    folder.write("pulls: {incidents: {table: incident, fields: [number]}}\n")
    done = folder.call("pull", "incidents", "--json")
    assert (done.code, done.json["error"]["key"], done.json["error"]["value"]) == (2, "SNOW_REFRESH_TOKEN", ""), done
    assert "refresh token may have ended" in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert variables["SNOW_REFRESH_TOKEN"] not in done.out + done.err
    assert len(server.requests) == 1
    assert not (tmp_path / "data").exists()


def test_what_is_left_over_of_another_way_does_not_matter(server: SimulatorServer) -> None:
    both = variables_of(server, "oauth_refresh_token") | {"SNOW_USERNAME": "nobody"}
    with Client(server.url, Credentials.model_validate({FIELD_OF[k]: v for k, v in both.items()})) as client:
        assert client.username == ""
        assert client.get_count("incident") == ROWS
