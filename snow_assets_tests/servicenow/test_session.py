from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import ConfigError, CredentialsError
from snow_assets.servicenow.deadlines import Deadlines
from snow_assets.servicenow.exchange import Answer, Request
from snow_assets.servicenow.faults import FAULTS
from snow_assets.servicenow.route import Route, base_url
from snow_assets.servicenow.session import Transport
from snow_assets_tests.servicenow.awaited import AwaitedTransport
from snow_assets_tests.servicenow.scripted import Asked, Connection, Script, scripted

BASIC = Credentials.model_validate({"username": "zoë", "password": "s3cret"})
PAGE = Request("/api/now/table/incident", {"sysparm_query": "a=1^b=2 3", "sysparm_limit": "1"}, "page")
ROW = json.dumps({"result": [{"sys_id": "a" * 32}]}).encode()


Kind = type[Transport] | type[AwaitedTransport]


@pytest.fixture(params=[Transport, AwaitedTransport], ids=["threads", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The transport of threads, and the one of asyncio: what is claimed of one holds for both."""
    kind: Kind = request.param
    return kind


def send(kind: Kind, script: Script, *, timeout: tuple[float, float] = (5.0, 5.0), request: Request = PAGE) -> Answer:
    with scripted(script) as server, kind(Route.given(server.url, timeout=timeout), BASIC) as transport:
        return transport.send(request)


def transport_to(url: str, timeout: tuple[float, float] = (5.0, 5.0), credentials: Credentials = BASIC) -> Transport:
    return Transport(Route.given(url, timeout), credentials)


def test_an_answer_has_status_lower_case_headers_and_the_whole_body(kind: Kind) -> None:
    seen: list[Asked] = []

    def script(asked: Asked, connection: Connection) -> None:
        seen.append(asked)
        connection.answer(200, ROW, X_Total_Count="7")

    answer = send(kind, script)
    assert (answer.status, answer.body, answer.fault) == (200, ROW, "")
    assert answer.headers["x-total-count"] == "7"
    assert seen[0].target == "/api/now/table/incident?sysparm_query=a%3D1%5Eb%3D2+3&sysparm_limit=1"
    assert seen[0].headers["accept"] == "application/json"
    assert seen[0].headers["authorization"] == "Basic em/DqzpzM2NyZXQ="  # zoë:s3cret, as UTF-8


def test_gzip_and_chunks_are_undone(kind: Kind) -> None:
    def script(_: Asked, connection: Connection) -> None:
        packed = gzip.compress(ROW)
        head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%s\r\n" % (1, packed[i : i + 1]) for i in range(len(packed)))
        connection.raw(head.encode() + chunks + b"0\r\n\r\n")

    assert send(kind, script).body == ROW


def _hang(asked: Asked, connection: Connection) -> None:
    del asked
    connection.until_closed()


def _drip(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100):
        connection.raw(b" ")
        threading.Event().wait(0.05)


def _drip_chunks(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.raw(b"1\r\n \r\n")
        threading.Event().wait(0.05)


def _drip_headers(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\n")
    for number in range(60):
        connection.raw(b"X-%d: 1\r\n" % number)
        threading.Event().wait(0.05)
    connection.raw(b"Content-Length: 0\r\n\r\n")


def _hang_inside(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    connection.until_closed()


def _short(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + ROW)
    connection.close()


def _unended_chunks(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (len(ROW), ROW))
    connection.close()


def _reset_inside(asked: Asked, connection: Connection) -> None:
    del asked
    connection.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    threading.Event().wait(0.1)
    connection.reset()


def _broken_gzip(asked: Asked, connection: Connection) -> None:
    del asked
    connection.answer(200, b"no gzip at all", Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (_hang, "timeout"),
        (_hang_inside, "timeout"),
        (_drip, "too_slow"),
        (_drip_chunks, "too_slow"),
        (_short, "truncated_body"),
        (_unended_chunks, "truncated_body"),
        (_reset_inside, "connection_reset"),
        (lambda _, connection: connection.reset(), "connection_reset"),
        (lambda _, connection: connection.close(), "connection_reset"),
        (lambda _, connection: connection.raw(b"SSH-2.0-OpenSSH\r\n"), "connection_reset"),
        (_broken_gzip, "broken_gzip"),
    ],
)
def test_transport_faults_have_names_and_raise_nothing(kind: Kind, script: Script, fault: str) -> None:
    answer = send(kind, script, timeout=(0.3, 0.4))
    assert (answer.status, answer.fault, answer.body) == (0, fault, b"")
    assert fault in FAULTS
    assert "s3cret" not in answer.detail


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"Content-Length: 40\r\n\r\n", b" "),
        (b"Connection: close\r\nContent-Length: 40\r\n\r\n", b" "),
        (b"\r\n", b" "),
        (b"", b"X-Drop: 1\r\n"),
    ],
    ids=["kept", "closing", "without-length", "headers"],
)
def test_what_drips_is_cut_before_its_end(kind: Kind, head: bytes, drop: bytes) -> None:
    ended: list[bool] = []

    def script(_: Asked, connection: Connection) -> None:
        connection.raw(b"HTTP/1.1 200 OK\r\n" + head)
        for _number in range(40):
            connection.raw(drop)
            threading.Event().wait(0.05)
        ended.append(True)
        connection.close()

    assert send(kind, script, timeout=(0.3, 0.4)).fault == "too_slow"
    assert not ended


def test_a_connection_that_was_kept_is_cut_too(kind: Kind) -> None:
    def script(asked: Asked, connection: Connection) -> None:
        if len(server.asked) == 1:
            connection.answer(200, ROW)
        else:
            _drip_headers(asked, connection)

    with scripted(script) as server, kind(Route.given(server.url, timeout=(0.3, 0.4)), BASIC) as transport:
        assert transport.send(PAGE).body == ROW
        assert transport.send(PAGE).fault == "too_slow"
        assert [asked.connection for asked in server.asked] == [1, 1]


def test_a_proxy_that_drips_is_cut(kind: Kind) -> None:
    with (
        scripted(_drip_headers) as proxy,
        kind(Route.given("https://dev1.service-now.com", proxy=proxy.url, timeout=(0.3, 0.4)), BASIC) as transport,
    ):
        assert transport.send(PAGE).fault == "too_slow"


class _NoSocket:
    """What urllib3 reads from where TLS runs within TLS: it wraps a socket, but is none."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()


def test_whatever_wraps_the_socket_the_watch_goes_on() -> None:
    deadlines = Deadlines()
    for wrap in (_NoSocket, lambda sock: sock):
        ours, theirs = socket.socketpair()
        with ours, theirs, deadlines.watch(time.monotonic() + 0.05) as watched:
            ours.settimeout(5)
            watched.take(wrap(ours))
            assert ours.recv(1) == b"", "cut while it waits for a byte"
            assert watched.expired
    deadlines.close()


def test_a_socket_that_comes_after_the_deadline_is_cut_at_once() -> None:
    deadlines = Deadlines()
    ours, theirs = socket.socketpair()
    with ours, theirs, deadlines.watch(time.monotonic()) as watched:
        watched.take(ours)
        assert watched.expired
        assert ours.recv(1) == b""
    deadlines.close()


def test_nobody_listens(kind: Kind) -> None:
    with scripted(lambda _, connection: connection.close()) as server:
        url = server.url
    with kind(Route.given(url), BASIC) as transport:
        assert transport.send(PAGE).fault == "connection_refused"


def test_a_host_that_does_not_exist(kind: Kind) -> None:
    with kind(Route.given("https://no-such-host.invalid"), BASIC) as transport:
        assert transport.send(PAGE).fault in ("unknown_host", "dns")


def test_a_server_that_does_not_speak_tls(kind: Kind) -> None:
    def script(_: Asked, connection: Connection) -> None:
        connection.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        scripted(script) as server,
        kind(Route.given(server.url.replace("http:", "https:"), timeout=(2.0, 2.0)), BASIC) as transport,
    ):
        assert transport.send(PAGE).fault in ("tls", "timeout", "connection_reset")


def test_a_redirect_is_not_followed(kind: Kind) -> None:
    def script(asked: Asked, connection: Connection) -> None:
        connection.answer(302, Location=f"http://{asked.headers['host']}/elsewhere")

    with scripted(script) as server, kind(Route.given(server.url), BASIC) as transport:
        assert transport.send(PAGE).status == 302
        assert server.paths == [PAGE.path]


def test_netrc_never_replaces_the_credentials(kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login intruder password wrong\n")
    monkeypatch.setenv("NETRC", str(netrc))

    with scripted(lambda _, connection: connection.answer(200, ROW)) as server:
        bearer = Credentials.model_validate({"token": "t0ken"})
        for credentials, scheme in ((BASIC, "Basic em/"), (bearer, "Bearer t0ken")):
            with kind(Route.given(server.url), credentials) as transport:
                holder = transport.transport if isinstance(transport, AwaitedTransport) else transport
                # So that the environment is trusted, as towards a real instance.
                holder._route = replace(holder._route, loopback=False)
                transport.send(PAGE)
            assert server.asked[-1].headers["authorization"].startswith(scheme)


def test_an_environment_proxy_is_used_but_not_towards_loopback(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted(lambda _, connection: connection.answer(200, ROW)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with kind(Route.given("http://dev1.service-now.com", allow_http=True), BASIC) as transport:
            assert transport.send(PAGE).status == 200
        assert proxy.asked[0].target.startswith("http://dev1.service-now.com/api/now/table/incident?")
        with (
            scripted(lambda _, connection: connection.answer(200, ROW)) as server,
            kind(Route.given(server.url), BASIC) as transport,
        ):
            transport.send(PAGE)
            assert len(server.asked) == 1


def test_a_proxy_that_is_not_there_is_named(kind: Kind) -> None:
    with kind(Route.given("https://dev1.service-now.com", proxy="http://127.0.0.1:1"), BASIC) as transport:
        assert transport.send(PAGE).fault == "proxy"


def test_each_thread_keeps_one_session_and_fresh_requests_have_none() -> None:
    def script(asked: Asked, connection: Connection) -> None:
        connection.answer(200, ROW, Set_Cookie=f"JSESSIONID=s{asked.connection}; Path=/")

    with scripted(script) as server, transport_to(server.url) as transport:
        transport.send(PAGE)
        transport.send(PAGE)
        transport.send(Request(PAGE.path, PAGE.params, "sweep", fresh=True))
        transport.send(PAGE)
        thread = threading.Thread(target=transport.send, args=(PAGE,))
        thread.start()
        thread.join()
        cookies = [asked.headers.get("cookie") for asked in server.asked]
        connections = [asked.connection for asked in server.asked]
    assert cookies == [None, "JSESSIONID=s1", None, "JSESSIONID=s1", None]
    assert connections == [1, 1, 2, 1, 3]


@pytest.mark.parametrize("status", [202, 302, 401, 403, 500, 503])
def test_a_session_that_met_trouble_is_not_used_again(status: int) -> None:
    def script(asked: Asked, connection: Connection) -> None:
        code = status if len(server.asked) == 1 else 200
        connection.answer(code, ROW, Set_Cookie=f"JSESSIONID=s{asked.connection}; Path=/")

    with scripted(script) as server, transport_to(server.url) as transport:
        transport.send(PAGE)
        transport.send(PAGE)
        assert [asked.headers.get("cookie") for asked in server.asked] == [None, None]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://acme.service-now.com", "https://acme.service-now.com"),
        ("https://acme.service-now.com/", "https://acme.service-now.com"),
        ("acme.service-now.com", "https://acme.service-now.com"),
        (" https://Acme.Service-Now.com:8443 ", "https://acme.service-now.com:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses(url: str, base: str) -> None:
    assert base_url(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://acme.service-now.com",
        "http://127.0.0.1.example.com",
        "ftp://acme.service-now.com",
        "https://acme.service-now.com/now/nav",
        "https://acme.service-now.com?x=1",
        "https://admin:s3cret@acme.service-now.com",
        "https://acme.service-now.com:https",
        "https://a b",
        "https://-x.com",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_url(url)
    assert caught.value.key == "url"
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_plain_http_elsewhere_needs_to_be_allowed() -> None:
    assert base_url("http://snow.internal", allow_http=True) == "http://snow.internal"


@pytest.mark.parametrize("secret", ["t0ken\n", "t0 ken", "t0kén"])
def test_a_secret_that_no_header_can_hold_is_refused_unseen(secret: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        Transport(Route.given("https://acme.service-now.com"), Credentials.model_validate({"token": secret}))
    assert "t0" not in str(caught.value)


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next(kind: Kind) -> None:
    taken, sent = threading.Event(), threading.Event()

    def script(_: Asked, connection: Connection) -> None:
        if len(server.asked) > 1:
            connection.answer(200, b"{}   ")
            return
        connection.answer(200, ROW)
        taken.wait(10)
        connection.answer(200, b"[]   ")
        sent.set()

    with scripted(script) as server, kind(Route.given(server.url), BASIC) as transport:
        assert transport.send(PAGE).body == ROW
        taken.set()
        assert sent.wait(10)
        assert transport.send(PAGE).body == b"{}   "
