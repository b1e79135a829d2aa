"""Whatever fails, no secret is written anywhere: not to the terminal, not to a file, not into Dagster's storage.

Every secret holds a mark of plain letters, which comes through quoting, escaping and URL encoding, and is looked for in
base64 too, at each of its three positions, also inside what Dagster compresses.
"""

from __future__ import annotations

import base64
import json
import shutil
import socket
import sqlite3
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import dagster as dg
import pytest
import requests
import trustme
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from snow_assets.config import Environment, InstanceConfig, load_settings
from snow_assets.dagster_home import write_dagster_home
from snow_assets.definitions import build_definitions
from snow_assets.pulls import totals as totals_module
from snow_assets.resources import ServiceNowResource
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.deadlines import WatchedAdapter
from snow_assets.simulator import Knobs, OAuthClient, Simulator, SimulatorServer, oauth
from snow_assets.simulator.fault_kinds import KINDS
from snow_assets.simulator.knobs import Account
from snow_assets_tests.cli.conftest import Done, Folder
from snow_assets_tests.servicenow.proxying import proxying

MARKS = {
    name: f"MRK{name}7Qx"
    for name in ("password", "client", "bearer", "apikey", "refresh", "issued", "proxy", "wrong", "line")
}
USER, CLIENT = "zoë", "client"
PASSWORD = f"ä:\"{MARKS['password']}' &=+/%41#€"
CLIENT_SECRET = f"ö{MARKS['client']}\" '&=+/%"
API_KEY = f"{MARKS['apikey']}+/=:%&\"'"
PROXY_PASSWORD = f"ü:{MARKS['proxy']}@/#?%"
PULLS = """\
defaults:
  {page_size: 20, slice_rows: 20, max_retries: 0, retry_backoff: 0.01, timeout: {connect: 2, read: 2}, max_wait: 1}
pulls:
  incidents: {table: incident, fields: [number, state]}
"""


# Looking for secrets.


def needles() -> dict[bytes, str]:
    """What must not be found -> whose it is."""
    found: dict[bytes, str] = {}
    for name, mark in MARKS.items():
        found[mark.encode()] = name
        for shift in range(3):
            # Whole groups of three bytes only: what stands before and after changes the characters at the edges.
            encoded = base64.b64encode(b"\0" * shift + mark.encode())
            found[encoded[4 if shift else 0 : len(encoded) // 4 * 4 - 4]] = f"{name} in base64"
    return found


NEEDLES = needles()


def found_in(data: bytes) -> set[str]:
    """Whose secrets are in ``data``."""
    return {name for needle, name in NEEDLES.items() if needle in data}


def values_of(path: Path) -> Iterator[bytes]:
    """Every value of a SQLite file, compressed ones as they were."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    data = value.encode() if isinstance(value, str) else value
                    if isinstance(data, bytes):
                        yield data
                        yield from unpacked(data)


def unpacked(data: bytes) -> Iterator[bytes]:
    """``data`` without compression and base64, where it has any."""
    for decode in (lambda given: given, base64.b64decode):
        try:
            yield zlib.decompress(decode(data))
        except (zlib.error, ValueError):
            continue


def leaks(folder: Path, cookies: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """File -> whose secrets are in it or in its name; what the user wrote is left out. ``cookies`` are secrets too."""
    found: dict[str, set[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or name in (".env", "pulls.yaml"):
            continue
        data = path.read_bytes()
        whose = found_in(data) | found_in(name.encode()) | {each for each in cookies if each.encode() in data}
        if data.startswith(b"SQLite format 3"):
            whose = whose.union(*map(found_in, values_of(path)))
        if whose:
            found[name] = whose
    return found


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    header = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    for name, text in {
        "plain": PASSWORD.encode(),
        "json": json.dumps(PASSWORD).encode(),
        "url": quote(PASSWORD).encode(),
        "form": urlencode({"password": PASSWORD}).encode(),
        "repr": repr(PASSWORD).encode(),
        "basic": header,
        "basic of a longer name": base64.b64encode(f"{USER}1:{PASSWORD}".encode()),
        "basic of a name that is longer still": base64.b64encode(f"{USER}12:{PASSWORD}".encode()),
    }.items():
        (tmp_path / name).write_bytes(b"x" * 10 + text + b"x")
    with closing(sqlite3.connect(tmp_path / "one.db")) as database:
        database.execute("CREATE TABLE t (a BLOB)")
        database.execute("INSERT INTO t VALUES (?)", (zlib.compress(header * 9),))
        database.commit()
    (tmp_path / MARKS["bearer"]).touch()
    (tmp_path / "harmless").write_text("MRK password 7Qx")
    assert set(leaks(tmp_path)) == {path.name for path in tmp_path.iterdir()} - {"harmless"}


# A place to fail in.


class Place(Folder):
    """A working folder whose ``.env`` holds marked secrets. Everything that commands say is kept."""

    def __init__(self, path: Path, variables: Mapping[str, str]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        super().__init__(path)
        self.said = 0
        self.write(PULLS)
        self.sign_in(variables)

    def sign_in(self, variables: Mapping[str, str]) -> None:
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in variables.items()}
        self.write("".join(f"{name}='{value}'\n" for name, value in quoted.items()), ".env")
        assert Environment.load(self.path, {}).values == variables

    def call(self, *arguments: str, **variables: str) -> Done:
        return self.keep(super().call(*arguments, **variables))

    def run(self, *arguments: str, **variables: str) -> Done:
        return self.keep(super().run(*arguments, **variables))

    def keep(self, done: Done) -> Done:
        self.said += 1
        assert not found_in((done.out + done.err).encode()), done
        self.write(done.out + done.err, f"said-{self.said}.txt")
        return done

    def fails(self, *arguments: str, **variables: str) -> Done:
        """Loudly and as JSON: the two ways in which most is said."""
        done = self.call(*arguments, "--log-level", "debug", "--json", **variables)
        assert done.code, done
        return done


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": 60}, seed=3).serve() as running:
        yield running


@pytest.fixture
def server(shared: SimulatorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatorServer]:
    """An instance whose passwords, keys and tokens are marked."""
    numbers = count()
    monkeypatch.setattr(oauth, "_token", lambda: f"{MARKS['issued']}-{next(numbers)}+/=:%")
    knobs = shared.sim.knobs = Knobs(
        accounts={USER: Account(USER, PASSWORD)},
        oauth_clients={CLIENT: OAuthClient(CLIENT, CLIENT_SECRET, USER)},
        api_keys={API_KEY: USER},
    )
    shared.sim.tokens._knobs = shared.sim.sessions._knobs = knobs
    shared.sim.faults.clear()
    yield shared
    shared.sim.faults.clear()
    shared.sim.tokens.revoke(refresh=True)


def variables_of(server: SimulatorServer) -> dict[str, dict[str, str]]:
    """Each way to sign in."""
    url = {"SNOW_INSTANCE_URL": server.url}
    user = {"SNOW_USERNAME": USER, "SNOW_PASSWORD": PASSWORD}
    client = {"SNOW_CLIENT_ID": CLIENT, "SNOW_CLIENT_SECRET": CLIENT_SECRET}
    form = {"client_id": CLIENT, "client_secret": CLIENT_SECRET, "username": USER, "password": PASSWORD}
    issued = requests.post(f"{server.url}/oauth_token.do", data={"grant_type": "password", **form}, timeout=60).json()
    return {
        "basic": url | user,
        "bearer": url | {"SNOW_TOKEN": issued["access_token"]},
        "api_key": url | {"SNOW_API_KEY": API_KEY},
        "oauth_password": url | user | client,
        "oauth_client_credentials": url | client,
        "oauth_refresh_token": url | client | {"SNOW_REFRESH_TOKEN": issued["refresh_token"]},
    }


def without_a_trace(place: Place, server: SimulatorServer) -> None:
    found = leaks(place.path, frozenset(entry.session for entry in server.requests if entry.session))
    assert not found, found


# What fails.

WAYS = ("basic", "bearer", "api_key", "oauth_password", "oauth_client_credentials", "oauth_refresh_token")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_sign_in_that_works_and_that_is_refused(server: SimulatorServer, tmp_path: Path, way: str) -> None:
    place = Place(tmp_path / "work", variables_of(server)[way])
    for command in (("check",), ("count", "incident"), ("plan", "incidents")):
        assert place.call(*command, "--log-level", "debug").code == 0
    asked = next(path for path in place.path.glob("said-2.txt")).read_text()
    assert "urllib3" in asked, "what the libraries log is looked at"
    knobs = server.sim.knobs
    server.sim.tokens.revoke(refresh=True)
    knobs.accounts, knobs.oauth_clients, knobs.api_keys = {}, {}, {}
    for refused in (("check",), ("count", "incident"), ("plan", "incidents"), ("init", "--from", "incident")):
        assert place.fails(*refused).code == 2
    without_a_trace(place, server)


@pytest.mark.parametrize(
    "every", [pytest.param(True, id="each", marks=pytest.mark.slow), pytest.param(False, id="in turns")]
)
def test_every_fault_of_the_table_api_and_of_the_token_endpoint(
    server: SimulatorServer, tmp_path: Path, every: bool
) -> None:
    variables = variables_of(server)["oauth_password"]
    place = Place(tmp_path / "work", variables)
    place.write(PULLS.replace("{connect: 2, read: 2}", "{connect: 0.1, read: 0.1}"))
    failed = tried = 0
    for number, kind in enumerate(KINDS):
        for request in ("list", "token") if every else (("list", "token")[number % 2],):
            tried += 1
            server.sim.tokens.revoke()
            server.faults.add({"kind": kind, "request": request})
            failed += bool(place.call("plan", "incidents", "--log-level", "debug", "--json").code)
            server.faults.clear()
    assert failed > tried / 4
    without_a_trace(place, server)


def test_the_way_to_the_instance(server: SimulatorServer, tmp_path: Path) -> None:
    basic = variables_of(server)["basic"]
    place = Place(tmp_path / "work", basic)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
    login = f"{quote('dömain|u')}:{quote(PROXY_PASSWORD, safe='')}"
    with (
        Simulator(rows={"incident": 1}).serve(tls=context) as untrusted,
        proxying(login=f"dömain|u:{PROXY_PASSWORD}") as proxy,
        proxying(login="other:login") as refusing,
        proxying(refuses=502) as failing,
    ):
        through = f"{login}@127.0.0.1:{{}}"
        for changed in (
            {"SNOW_INSTANCE_URL": untrusted.url},
            {"SNOW_INSTANCE_URL": f"http://{nobody}"},
            {"SNOW_INSTANCE_URL": "https://no-such-host.invalid"},
            {"SNOW_INSTANCE_URL": server.url.replace("http:", "https:")},
            {"SNOW_INSTANCE_URL": "http://dev1.service-now.com"},
            {"SNOW_INSTANCE_URL": f"https://{USER}:{PASSWORD}@dev1.service-now.com"},
            {"SNOW_INSTANCE_URL": f"https://{USER}:{quote(PASSWORD)}@dev1.service-now.com"},
            {"SNOW_PROXY": f"http://{login}@{nobody}"},
            {"SNOW_PROXY": f"http://{through.format(refusing.port)}"},
            {"SNOW_PROXY": f"http://{through.format(failing.port)}"},
            {"SNOW_PROXY": f"http://{through.format(refusing.port)}", "SNOW_INSTANCE_URL": "https://a.service-now.com"},
            {"SNOW_PROXY": f"http://{through.format(proxy.port)}", "SNOW_INSTANCE_URL": untrusted.url},
            {"SNOW_PROXY": f"http://u:{PROXY_PASSWORD}@{nobody}"},
            {"SNOW_PROXY": f"https://{through.format(proxy.port)}"},
            {"SNOW_PROXY": f"socks5://{login}@{nobody}"},
            {"HTTPS_PROXY": f"http://{login}@{nobody}", "SNOW_INSTANCE_URL": "https://a.service-now.com"},
            {"HTTPS_PROXY": f"http://u:{PROXY_PASSWORD}@{nobody}", "SNOW_INSTANCE_URL": "https://a.service-now.com"},
        ):
            place.fails("plan", "incidents", **changed, NO_PROXY="", no_proxy="")
            place.call("validate", "--json", **changed)
        assert place.call("plan", "incidents", SNOW_PROXY=f"http://{through.format(proxy.port)}").code == 0
    without_a_trace(place, server)


MISPLACED = {
    "a password in the url": f"instance: {{url: 'https://u:{MARKS['wrong']}@dev1.service-now.com'}}\n{PULLS}",
    "with a slash": f"instance: {{url: 'https://u:{MARKS['wrong']}/x@dev1.service-now.com'}}\n{PULLS}",
    "without a scheme": f"instance: {{url: 'u:{MARKS['wrong']}@dev1.service-now.com'}}\n{PULLS}",
    "in the path": f"instance: {{url: 'https://dev1.service-now.com?sysparm_password={MARKS['wrong']}'}}\n{PULLS}",
    "in the proxy": f"instance: {{proxy: 'http://u:{MARKS['wrong']}@proxy.example.com'}}\n{PULLS}",
    "in a proxy that is none": f"instance: {{proxy: 'u:{MARKS['wrong']}@proxy'}}\n{PULLS}",
    "under instance": f"instance: {{password: {MARKS['wrong']}}}\n{PULLS}",
    "under a name nobody knows": f"instance: {{pwd: {MARKS['wrong']}}}\n{PULLS}",
    "under a map": f"instance: {{auth: {{user: u, pass: {MARKS['wrong']}}}}}\n{PULLS}",
    "at the top": f"secret: {MARKS['wrong']}\n{PULLS}",
    "at the top in a map": f"credentials: {{x: {MARKS['wrong']}}}\n{PULLS}",
    "in defaults": f"defaults: {{token: {MARKS['wrong']}}}\npulls: {{incidents: {{table: incident}}}}\n",
    "in a pull": f"pulls: {{incidents: {{table: incident, api_key: {MARKS['wrong']}}}}}\n",
    "in a pull as a list": f"pulls: {{incidents: {{table: incident, client_secret: [{MARKS['wrong']}]}}}}\n",
    "under a number": f"pulls: {{incidents: {{table: incident, 7: {MARKS['wrong']}}}}}\n",
    "before a tab": f"instance:\n\tpassword: {MARKS['wrong']}\n{PULLS}",
    "before a quote": f"instance: {{password: '{MARKS['wrong']}}}\n{PULLS}",
}


@pytest.mark.parametrize("case", MISPLACED)
def test_a_secret_in_the_wrong_place_is_refused_unseen(server: SimulatorServer, tmp_path: Path, case: str) -> None:
    place = Place(tmp_path / "work", variables_of(server)["basic"])
    place.write(MISPLACED[case])
    for command in (("validate",), ("plan", "incidents"), ("status",)):
        assert place.call(*command, "--log-level", "debug", "--json").code == 2 or command == ("status",)
        assert place.call(*command).code == 2 or command == ("status",)
    without_a_trace(place, server)


def test_an_env_file_that_cannot_be_read_right(server: SimulatorServer, tmp_path: Path) -> None:
    basic = variables_of(server)["basic"]
    place = Place(tmp_path / "work", basic)
    head = f"SNOW_INSTANCE_URL={server.url}\nSNOW_USERNAME=u\n"
    for text in (
        f'{head}SNOW_PASSWORD="{MARKS["line"]}\nrest"\n',
        f'{head}SNOW_PASSWORD="{MARKS["line"]}\n',
        f"{head}SNOW_PASSWORD '{MARKS['line']}'\n",
        f"{head}SNOW_TOKEN='{MARKS['line']} x'\n",
        f"{head}SNOW_API_KEY='{MARKS['line']}\t'\n",
        f"{head}SNOW_CLIENT_SECRET='{MARKS['line']}'\n",
        f"{head}SNOW_REFRESH_TOKEN='{MARKS['line']}'\n",
        f"SNOW_INSTANCE_URL={MARKS['line']} {server.url}\nSNOW_PASSWORD={MARKS['line']}\n"[len(MARKS["line"]) :],
    ):
        place.write(text, ".env")
        for command in (("check",), ("count", "incident"), ("validate",)):
            done = place.call(*command, "--log-level", "debug", "--json")
            assert done.code == 2 or command == ("validate",), done
    without_a_trace(place, server)


def plan_in_dagster(place: Place, monkeypatch: pytest.MonkeyPatch) -> dg.ExecuteInProcessResult:
    """A run of the pull's job, as the daemon starts it, on an instance that keeps everything on disk."""
    with monkeypatch.context() as patched:
        environment = Environment.load(place.path, {})
        for name, value in environment.values.items():
            patched.setenv(name, value)
        job = build_definitions(load_settings(environment.pulls_path), environment).resolve_job_def("pull_incidents")
        with dg.DagsterInstance.from_config(str(write_dagster_home(environment.dagster_home))) as instance:
            return job.execute_in_process(instance=instance, raise_on_error=False)


def test_dagster_runs_that_fail_everywhere(
    server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Place(tmp_path / "work", variables_of(server)["oauth_refresh_token"])

    def pull(*codes: int) -> None:
        assert place.call("pull", "incidents", "--log-level", "debug", "--json").code in codes

    for kind in ("error_500", "unauthorized_401", "redirect"):  # the plan
        server.faults.add({"kind": kind, "table": "incident"})
        assert not plan_in_dagster(place, monkeypatch).success
        server.faults.clear()
    printed = capfd.readouterr()
    place.keep(Done(1, printed.out, printed.err))
    pages = {"request": "list", "table": "incident", "narrow": False, "first": True}
    server.faults.add({"kind": "unauthorized_401", **pages})  # the slices
    pull(1, 2)
    server.faults.clear()

    sent = WatchedAdapter.send

    def crash(self: Any, request: Any, *args: Any, **settings: Any) -> Any:
        if "sysparm_fields=sys_id%2Cnumber" in request.url:
            raise RuntimeError(f"a fault of our own, {len(request.headers)} headers")
        return sent(self, request, *args, **settings)

    monkeypatch.setattr(WatchedAdapter, "send", crash)  # inside a slice, with a traceback
    pull(1)
    monkeypatch.setattr(WatchedAdapter, "send", sent)
    monkeypatch.setattr(totals_module, "reconcile", lambda *_: 1 / 0)
    for module in [m for name, m in list(__import__("sys").modules.items()) if name.startswith("snow_assets.assets")]:
        if hasattr(module, "reconcile"):
            monkeypatch.setattr(module, "reconcile", lambda *_: 1 / 0)  # the totals
    pull(1)
    monkeypatch.undo()
    server.sim.tokens.revoke(refresh=True)
    pull(2)
    place.sign_in(variables_of(server)["basic"])
    pull(0)
    for command in (("status",), ("files", "incidents"), ("table", "incidents"), ("jsonl", "incidents")):
        assert place.call(*command, "--log-level", "debug").code == 0
    home = place.path / ".dagster"
    databases = [path for path in home.rglob("*.db") if path.read_bytes()[:6] == b"SQLite"]
    stored = b"".join(data for path in databases for data in values_of(path))
    for told in (b"server_error", b"a fault of our own", b"ZeroDivisionError", b"STEP_FAILURE", b"SNOW_REFRESH_TOKEN"):
        assert told in stored, "the failures are in Dagster's storage, and so would be what they tell"
    assert list(home.rglob("*.err")) or list(home.rglob("*.out")), "and there are logs of what was printed"
    without_a_trace(place, server)


def test_what_dagsters_ui_is_told(server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a code location hands to the webserver, whichever way is configured; GraphQL answers from nothing else."""
    for way, variables in variables_of(server).items():
        proxy = f"http://u:{quote(PROXY_PASSWORD, safe='')}@127.0.0.1:9"
        place = Place(tmp_path / way, {**variables, "SNOW_PROXY": proxy})
        with monkeypatch.context() as patched:
            environment = Environment.load(place.path, {})
            for name, value in environment.values.items():
                patched.setenv(name, value)
            definitions = build_definitions(load_settings(environment.pulls_path), environment)
            told = serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))
            resource = ServiceNowResource.from_environment(InstanceConfig(), environment)
            shown = repr(resource) + str(resource) + repr(definitions) + repr(environment)
            read = resource.process_config_and_initialize()
            assert read.credentials().kind == way
            shown += repr(read) + repr(read.credentials())
            with Client(server.url, read.credentials(), proxy=read.proxy) as client:
                shown += repr(client) + repr(client._transport) + repr(client._transport.auth)
        for name in variables:
            assert name in told
        assert "SNOW_PROXY" in told
        assert not found_in(told.encode() + shown.encode())


def test_a_literal_in_the_definitions_is_starred() -> None:
    """Against what the docs say; the UI does not show it all the same."""
    secret = ("password", "client_secret", "refresh_token", "token", "api_key", "proxy")
    fields = ServiceNowResource.to_fields_dict()
    assert {name for name, field in fields.items() if field.is_secret} == set(secret)


@pytest.mark.slow
def test_a_real_process_and_dbt(server: SimulatorServer, tmp_path: Path) -> None:
    place = Place(tmp_path / "work", variables_of(server)["basic"])
    shutil.copytree(
        Path(__file__).parent.parent / "dbt", place.path / "dbt", ignore=shutil.ignore_patterns("target", "logs")
    )
    place.write(PULLS.replace(", fields: [number, state]", ""))
    assert place.run("pull", "incidents", "--log-level", "debug", DBT_DEBUG="1", DBT_LOG_LEVEL="debug").code == 0
    assert list(place.path.rglob("dbt.log")) or list(place.path.rglob("manifest.json"))
    server.faults.add({"kind": "unauthorized_401"})
    assert place.run("pull", "incidents", "--new", "--log-level", "debug").code == 2
    without_a_trace(place, server)
