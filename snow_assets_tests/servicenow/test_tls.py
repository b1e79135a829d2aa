"""Certificates: an authority of our own signs what a simulated instance shows, rightly and wrongly."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from snow_assets.config import Credentials
from snow_assets.errors import ConfigError, HostError
from snow_assets.servicenow.client import Client
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import Folder
from snow_assets_tests.servicenow.awaited import AwaitedClient

ROWS = 40
ADMIN = Credentials.model_validate({"username": "admin", "password": "MARKED-password"})


@pytest.fixture(autouse=True)
def no_bundle_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def served(certificate: trustme.LeafCert) -> Iterator[SimulatorServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    sim = Simulator(rows={"incident": ROWS})
    sim.knobs.accounts["admin"].password = "MARKED-password"
    with sim.serve(tls=context) as server:
        yield server


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA) -> Iterator[SimulatorServer]:
    with served(authority.issue_cert("127.0.0.1")) as server:
        yield server


ClientOf = Callable[[SimulatorServer, str | None], Client | AwaitedClient]


@pytest.fixture(params=[Client, AwaitedClient], ids=["threads", "asyncio"])
def client_of(request: pytest.FixtureRequest) -> ClientOf:
    """Makes the client of threads, and the one of asyncio."""

    def make(server: SimulatorServer, bundle: str | None) -> Client | AwaitedClient:
        made: Client | AwaitedClient = request.param(
            server.url, ADMIN, ca_bundle=bundle, retry_backoff=0.01, page_size=10
        )
        return made

    return make


def test_rows_come_over_tls_where_the_authority_is_trusted(
    client_of: ClientOf, trusted: SimulatorServer, bundle: str
) -> None:
    assert trusted.url.startswith("https://")
    with client_of(trusted, bundle) as client:
        rows = list(client.concurrent_get_records("incident", fields=["number", "caller_id"], max_workers=4))
    assert len({row["sys_id"] for row in rows}) == ROWS
    assert next(row["caller_id"]["link"] for row in rows if row["caller_id"]).startswith(trusted.url)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_honoured(
    client_of: ClientOf, trusted: SimulatorServer, bundle: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, bundle)
    with client_of(trusted, None) as client:
        assert client.get_count("incident") == ROWS


def test_the_bundle_that_is_named_wins_over_the_environments(
    client_of: ClientOf, trusted: SimulatorServer, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
    with client_of(trusted, bundle) as client:
        assert client.get_count("incident") == ROWS
    with pytest.raises(ConfigError) as caught:
        client_of(trusted, None)
    assert (caught.value.key, caught.value.value) == ("REQUESTS_CA_BUNDLE", "/no/such/file.pem")


def test_certificates_that_are_not_trusted_end_it_at_once(
    client_of: ClientOf, trusted: SimulatorServer, authority: trustme.CA, bundle: str
) -> None:
    other = authority.issue_cert("elsewhere.example.com")
    ended = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with served(other) as misnamed, served(ended) as expired:
        for server, given, said in (
            (trusted, None, "certificate"),
            (misnamed, bundle, "IP address mismatch"),
            (expired, bundle, "expired"),
        ):
            server.requests.clear()
            with client_of(server, given) as client, pytest.raises(HostError, match=said) as caught:
                client.get_count("incident")
            assert "tls_certificate" in caught.value.message
            assert "ca_bundle" in caught.value.hint
            assert caught.value.exit_code == 2
            assert len(server.requests) == 0, "nothing is sent before the certificate is proven"


def test_a_bundle_that_is_none_is_told_before_anything_is_asked(
    client_of: ClientOf, trusted: SimulatorServer, tmp_path: Path
) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate\n")
    empty = tmp_path / "empty.pem"
    empty.touch()
    der = tmp_path / "der.pem"
    der.write_bytes(bytes(range(256)))
    for path, said in (
        (text, "PEM"),
        (empty, "PEM"),
        (der, "PEM"),
        (tmp_path / "missing.pem", "no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            client_of(trusted, str(path))
        assert (caught.value.key, caught.value.value, caught.value.exit_code) == ("ca_bundle", str(path), 2)


def test_the_command_names_the_way_out(trusted: SimulatorServer, bundle: str, tmp_path: Path) -> None:
    variables = {"SNOW_INSTANCE_URL": trusted.url, "SNOW_USERNAME": "admin", "SNOW_PASSWORD": "MARKED-password"}
    folder = Folder(tmp_path, variables)
    pulls = "pulls: {incidents: {table: incident, fields: [number], page_size: 10}}\n"
    broken = tmp_path / "broken.pem"
    broken.write_text("x")
    for instance, key in (("", "SNOW_INSTANCE_URL"), (f"instance: {{ca_bundle: '{broken}'}}\n", "instance.ca_bundle")):
        folder.write(instance + pulls)
        done = folder.call("pull", "incidents", "--json")
        assert (done.code, done.json["error"]["key"]) == (2, key), done
        assert "ca_bundle" in done.err
        assert len(done.err.strip().splitlines()) == 1
        assert not (tmp_path / "data").exists()
    folder.write(f"instance: {{ca_bundle: '{bundle}'}}\n" + pulls)
    done = folder.call("pull", "incidents", "--json")
    assert done.code == 0, done
    assert done.json["landed"] == ROWS


def test_simulate_serves_https(authority: trustme.CA, bundle: str, tmp_path: Path) -> None:
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(str(key))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(pem), append=True)
    folder = Folder(tmp_path)
    for wrong in (("--tls-cert", str(pem)), ("--tls-key", str(key)), ("--tls-cert", str(key), "--tls-key", str(pem))):
        done = folder.call("simulate", *wrong, "--json")
        assert (done.code, done.json["error"]["key"]) == (2, "--tls-cert"), done
    command = folder.command("simulate", "--tls-cert", str(pem), "--tls-key", str(key), "--rows", "incident=5")
    with subprocess.Popen(command, cwd=tmp_path, env=folder.environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removeprefix("SNOW_INSTANCE_URL=")
            with Client(
                url, Credentials.model_validate({"username": "admin", "password": "admin"}), ca_bundle=bundle
            ) as c:
                assert c.get_count("incident") == 5
        finally:
            process.terminate()
