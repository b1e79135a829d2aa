"""The way to the instance: a real proxy between, and redirects that would lead elsewhere."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trustme

from snow_assets.config import Credentials, Environment, InstanceConfig, find_problems
from snow_assets.errors import ConfigError, HostError, InstanceUnavailable, SnowError
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.route import check_proxy
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import Folder
from snow_assets_tests.servicenow.awaited import AwaitedClient
from snow_assets_tests.servicenow.proxying import Proxy, proxying
from snow_assets_tests.servicenow.scripted import Asked, Connection, scripted

ROWS = 30
SECRET = "MÄRKED:p@ss/w?rd#€"
ADMIN = Credentials.model_validate({"username": "admin", "password": "admin"})
OAUTH = Credentials.model_validate({"client_id": "client", "client_secret": "secret"})
BASIC = base64.b64encode(b"admin:admin").decode()


@pytest.fixture(autouse=True)
def no_proxies_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}).serve() as running:
        yield running


@pytest.fixture(scope="module")
def encrypted(authority: trustme.CA) -> Iterator[SimulatorServer]:
    """An instance whose certificate says that it is dev1.service-now.com."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("dev1.service-now.com").configure_cert(context)
    with Simulator(rows={"incident": ROWS}).serve(tls=context) as running:
        yield running


ClientOf = Callable[..., Client | AwaitedClient]


@pytest.fixture(params=[Client, AwaitedClient], ids=["threads", "asyncio"])
def client_of(request: pytest.FixtureRequest) -> ClientOf:
    """Makes the client of threads, and the one of asyncio."""

    def make(url: str, credentials: Credentials = ADMIN, **settings: Any) -> Client | AwaitedClient:
        quick: dict[str, Any] = {"retry_backoff": 0.01, "max_retries": 1, "page_size": 10, "allow_http": True}
        made: Client | AwaitedClient = request.param(url, credentials, **(quick | settings))
        return made

    return make


def with_login(proxy: Proxy, password: str = SECRET) -> str:
    return f"http://{quote('dömain|u')}:{quote(password, safe='')}@{proxy.host}:{proxy.port}"


def rows_of(client: Client | AwaitedClient) -> int:
    return len(list(client.concurrent_get_records("incident", fields=["number"], max_workers=4)))


@pytest.mark.parametrize("credentials", [ADMIN, OAUTH], ids=["basic", "oauth"])
def test_plain_http_goes_through_the_proxy_that_is_named_even_towards_loopback(
    client_of: ClientOf, server: SimulatorServer, credentials: Credentials
) -> None:
    with proxying() as proxy, client_of(server.url, credentials, proxy=proxy.url) as client:
        assert rows_of(client) == ROWS
        assert {target.startswith(server.url + "/") for _, target, _ in proxy.asked} == {True}
        assert ("POST" in {method for method, _, _ in proxy.asked}) == (credentials is OAUTH)


@pytest.mark.parametrize("login", ["", f"dömain|u:{SECRET}"], ids=["open", "with a password"])
def test_https_is_tunnelled_and_the_proxy_sees_no_credentials(
    client_of: ClientOf, encrypted: SimulatorServer, bundle: str, login: str
) -> None:
    with proxying(login=login, lead_to=encrypted.url) as proxy:
        url = with_login(proxy) if login else proxy.url
        with client_of("https://dev1.service-now.com", proxy=url, ca_bundle=bundle) as client:
            assert rows_of(client) == ROWS
    assert {(method, target) for method, target, _ in proxy.asked} == {("CONNECT", "dev1.service-now.com:443")}
    assert BASIC not in str(proxy.asked)
    assert all(("proxy-authorization" in headers) == bool(login) for _, _, headers in proxy.asked)


def test_an_instance_never_sees_the_proxys_password(client_of: ClientOf) -> None:
    seen: list[Asked] = []

    def script(asked: Asked, connection: Connection) -> None:
        seen.append(asked)
        connection.answer(200, b'{"result":{"stats":{"count":"7"}}}')
        connection.close()

    with (
        scripted(script) as instance,
        proxying(login=f"dömain|u:{SECRET}") as proxy,
        client_of(instance.url, proxy=with_login(proxy)) as client,
    ):
        assert client.get_count("incident") == 7
    assert seen[0].headers["authorization"] == f"Basic {BASIC}"
    assert not [name for name in seen[0].headers if name.startswith("proxy-")]


@pytest.mark.parametrize("url", ["http://dev1.service-now.com", "https://dev1.service-now.com"])
def test_a_proxy_that_wants_a_password_is_told_once_and_clearly(client_of: ClientOf, url: str) -> None:
    with proxying(login=f"dömain|u:{SECRET}") as proxy:
        for given in (proxy.url, with_login(proxy, "MARKED-wrong")):
            proxy.asked.clear()
            with client_of(url, proxy=given) as client, pytest.raises(HostError, match="proxy_sign_in") as caught:
                client.get_count("incident")
            assert len(proxy.asked) == 1, "a wrong password is not tried again"
            assert "SNOW_PROXY" in caught.value.hint
            assert "M" not in str(caught.value).replace("MB", "")
            assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["http://dev1.service-now.com", "https://dev1.service-now.com"])
def test_a_proxy_that_fails_is_an_outage(client_of: ClientOf, url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with client_of(url, proxy=nobody) as client, pytest.raises(InstanceUnavailable, match="proxy"):
        client.get_count("incident")
    with proxying(refuses=503) as proxy, client_of(url, proxy=proxy.url) as client:
        with pytest.raises(InstanceUnavailable):
            client.get_count("incident")
        assert 2 <= len(proxy.asked) <= 3, "tried again, and asked once whether anyone is there"
    with proxying(hangs=True) as proxy, client_of(url, proxy=proxy.url, timeout=(0.2, 0.3)) as client:
        with pytest.raises(SnowError) as caught:
            client.get_count("incident")
        assert caught.value.exit_code == 1


def test_proxies_of_the_environment(
    client_of: ClientOf,
    server: SimulatorServer,
    encrypted: SimulatorServer,
    bundle: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with proxying(lead_to=encrypted.url) as proxy, proxying(lead_to=encrypted.url) as named:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with client_of("https://dev1.service-now.com", ca_bundle=bundle) as client:
            assert client.get_count("incident") == ROWS
        assert proxy.asked
        proxy.asked.clear()
        with client_of(server.url) as client:
            assert client.get_count("incident") == ROWS
        assert not proxy.asked, "loopback needs no proxy"
        monkeypatch.setenv("NO_PROXY", "service-now.com")
        with client_of("https://dev1.service-now.com", ca_bundle=bundle, proxy=named.url) as client:
            assert client.get_count("incident") == ROWS
        assert named.asked, "the one that is named is used all the same"
        assert not proxy.asked


def test_no_proxy_leads_past_the_environments(client_of: ClientOf, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxying() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", ".invalid")
        with (
            client_of("https://no-such.invalid", max_retries=0) as client,
            pytest.raises(SnowError, match=r"unknown_host|dns"),
        ):
            client.get_count("incident")
        assert not proxy.asked


@pytest.mark.parametrize(
    "url",
    [
        "proxy.example.com",
        "socks5://proxy.example.com:1080",
        "http://",
        "http://u:MARKED/p@proxy.example.com:3128",
        "http://u:MARKED#p@proxy.example.com:3128",
        "http://u:MARKED?p@proxy.example.com:3128",
        "http://u:MARKED@proxy.example.com:port",
        "http://[MARKED",
    ],
)
def test_a_url_that_is_no_proxy_is_refused_unseen(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_proxy(url)
    assert caught.value.key == "proxy"
    assert "%40" in caught.value.hint
    assert "MARKED" not in str(caught.value)


def test_a_proxys_password_is_for_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "pulls.yaml"
    file.write_text("instance: {proxy: 'http://u:MARKED@proxy.example.com'}\npulls: {incidents: {table: incident}}\n")
    [problem] = find_problems(file)
    assert (problem.key, problem.message.split(",")[0]) == ("instance.proxy", "holds credentials")
    assert "SNOW_PROXY" in problem.hint
    assert "MARKED" not in str(problem)
    instance = InstanceConfig(proxy="http://one.example.com")
    assert Environment({}, tmp_path).proxy(instance) == "http://one.example.com"
    assert Environment({"SNOW_PROXY": "http://u:p@two"}, tmp_path).proxy(instance) == "http://u:p@two"


def test_the_command_takes_the_proxy_from_the_environment(server: SimulatorServer, tmp_path: Path) -> None:
    variables = {"SNOW_INSTANCE_URL": server.url, "SNOW_USERNAME": "admin", "SNOW_PASSWORD": "admin"}
    folder = Folder(tmp_path, variables)
    folder.write("pulls: {incidents: {table: incident, fields: [number], max_retries: 0}}\n")
    with proxying(login=f"dömain|u:{SECRET}") as proxy:
        done = folder.call("pull", "incidents", "--json", SNOW_PROXY=with_login(proxy))
        assert (done.code, done.json["landed"]) == (0, ROWS), done
        assert proxy.asked
        for command in (("count", "incident"), ("pull", "incidents", "--new")):
            done = folder.call(*command, "--json", SNOW_PROXY=with_login(proxy, "MARKED"))
            assert (done.code, done.json["error"]["key"]) == (2, "SNOW_PROXY"), done
            assert "MARKED" not in done.out + done.err
    done = folder.call("validate", "--json", SNOW_PROXY="MARKED")
    assert (done.code, done.json["error"]["key"]) == (2, "SNOW_PROXY")
    assert "MARKED" not in done.out + done.err


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_never_carries_anything_to_anyone(client_of: ClientOf, status: int) -> None:
    def answer(_: Asked, connection: Connection) -> None:
        connection.answer(200, b'{"result":{"stats":{"count":"7"}},"access_token":"T","expires_in":99}')

    with scripted(answer) as other:
        port = other.url.rpartition(":")[2]
        for location in (
            f"{other.url}/api/now/stats/incident",  # another port is another server
            f"http://localhost:{port}/login.do",
            "/login.do",
            "http://[broken",
            f"http://{'a' * 70}.example.com/",
            "",
        ):
            asked: list[Asked] = []

            def redirect(
                one: Asked, connection: Connection, asked: list[Asked] = asked, location: str = location
            ) -> None:
                asked.append(one)
                connection.answer(status, b"<html>", Location=location, Content_Type="text/html")

            for credentials in (ADMIN, OAUTH):
                asked.clear()
                with scripted(redirect) as server, client_of(server.url, credentials) as client:
                    with pytest.raises(HostError, match="redirect") as caught:
                        client.get_count("incident")
                    assert caught.value.exit_code == 2
                    assert len({one.path for one in asked}) == 1, "the address that was asked, and no other"
                    assert len(asked) == 2, "once more in a new session, then it ends"
        assert not other.asked


@pytest.mark.parametrize("location", ["http://dev1.service-now.com/api/now/stats/incident", "//elsewhere.example.com/"])
def test_a_redirect_from_https_to_http_is_not_followed(
    client_of: ClientOf, authority: trustme.CA, bundle: str, location: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("dev1.service-now.com").configure_cert(context)
    with Simulator(rows={"incident": ROWS}).serve(tls=context) as instance, proxying(lead_to=instance.url) as proxy:
        instance.faults.add({"kind": "redirect", "location": location})
        with (
            client_of("https://dev1.service-now.com", proxy=proxy.url, ca_bundle=bundle) as client,
            pytest.raises(HostError, match="redirect"),
        ):
            client.get_count("incident")
        assert {(method, target) for method, target, _ in proxy.asked} == {("CONNECT", "dev1.service-now.com:443")}
