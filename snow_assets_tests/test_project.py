"""The project itself: what is installed, which part may know which, and the home of Dagster."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from dotenv import dotenv_values

from snow_assets.config import Environment
from snow_assets.dagster_home import remember_dagster_home, write_dagster_home

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PACKAGE = ROOT / "snow_assets"
# Each part may import itself and what stands before it. The rest of the top level is of the last part's kind.
LAYERS = ("errors", "config", "servicenow", "pulls", "imports", "documents", "assets", "cli")
PARTS = {
    "__version__": "errors",
    "read": "pulls",
    "config_attachments": "config",
    "config_cron": "config",
    "config_document": "config",
    "config_documents": "config",
    "config_environment": "config",
    "config_graph": "config",
    "config_import_fields": "config",
    "config_import_source": "config",
    "config_imports": "config",
    "config_imports_yaml": "config",
    "config_models": "config",
    "config_schedule": "config",
    "config_wording": "config",
    "config_yaml": "config",
    "dagster_home": "errors",
    "extras": "errors",
    "reader": "pulls",
    "resources": "assets",
    "checks": "assets",
    "schedules": "assets",
    "sensors": "assets",
    "definitions": "cli",
}


@pytest.fixture(scope="module")
def install() -> Iterator[ModuleType]:
    path = ROOT / "deploy" / "install.py"
    spec = importlib.util.spec_from_file_location("install", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(path.parent))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=!~;]", each)[0].lower().replace("_", "-").replace(".", "-") for each in requirements}


def test_lock_pins_everything_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = names(project["project"]["dependencies"]) | names(project["dependency-groups"]["dev"])
    for extra in project["project"]["optional-dependencies"].values():
        declared |= names(extra)
    pinned = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK, re.MULTILINE)}
    assert not declared - {name.replace(".", "-") for name in pinned}


def test_lock_has_hashes_and_names_no_host() -> None:
    for pinned in re.split(r"\n(?=\S)", LOCK.strip()):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", pinned), pinned[:80]
    assert "://" not in LOCK
    assert not re.search(r"^\s*-(?!-hash)", LOCK, re.MULTILINE)


def test_installer_takes_uv_with_its_hashes(install: ModuleType) -> None:
    lines = install.locked(ROOT / "requirements.lock").splitlines()
    assert lines[0].startswith("uv==")
    assert len(lines) > 2
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
    assert not lines[-1].endswith("\\")


def test_uv_is_told_what_pip_is_set_up_with(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_CERT"))]:
        monkeypatch.delenv(name)
    settings = tmp_path / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://one.example/simple\nextra-index-url =\n    https://two.example\n"
        "    https://three.example\n[install]\ntrusted-host = one.example\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    monkeypatch.setenv("PIP_CERT", "/certificates.pem")
    monkeypatch.setenv("UV_HTTP_RETRIES", "7")
    found = install.uv_environment(install.pip_configuration())
    assert found["UV_DEFAULT_INDEX"] == "https://one.example/simple"
    assert found["UV_INDEX"] == "https://two.example https://three.example"
    assert found["UV_INSECURE_HOST"] == "one.example"
    assert found["SSL_CERT_FILE"] == "/certificates.pem"
    assert "UV_HTTP_RETRIES" not in found


def imported(path: Path) -> set[str]:
    """Names of the parts of snow_assets that a module imports, inside functions too; not for types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    skipped = {id(inner) for node in typing_only for inner in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            full = (
                [node.module] if node.module != "snow_assets" else [f"snow_assets.{each.name}" for each in node.names]
            )
            found.update(full)
        elif isinstance(node, ast.Import):
            found.update(each.name for each in node.names)
    return {name.split(".")[1] for name in found if name.startswith("snow_assets.")}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(name: str) -> str:
    return PARTS.get(name, name)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    parts = {part(name) for name in imported(path)}
    if own == "simulator":
        assert parts <= {"simulator"}
        return
    allowed = set(LAYERS[: LAYERS.index(part(own)) + 1]) | ({"simulator"} if own == "cli" else set())
    assert parts <= allowed


def test_no_module_is_too_long() -> None:
    long = {path.name: n for path in modules() if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long


@pytest.mark.parametrize(
    "module", ["snow_assets.servicenow.client", "snow_assets.pulls", "snow_assets.documents", "snow_assets.simulator"]
)
def test_libraries_do_not_import_dagster(module: str) -> None:
    code = f"import sys, {module}; sys.exit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_env_file_keeps_its_lines_and_gets_the_home_once(tmp_path: Path) -> None:
    env_file, home = tmp_path / ".env", tmp_path / "it's a place"
    env_file.write_text("# mine\nSNOW_USERNAME=someone", encoding="utf-8")
    assert remember_dagster_home(env_file, home)
    assert not remember_dagster_home(env_file, tmp_path / "another")
    text = env_file.read_text(encoding="utf-8")
    assert text.startswith("# mine\nSNOW_USERNAME=someone\n")
    assert dotenv_values(env_file) == {"SNOW_USERNAME": "someone", "DAGSTER_HOME": str(home)}
    assert Environment.load(tmp_path, {}).dagster_home == home


def test_a_folder_that_was_moved_gets_a_new_home(tmp_path: Path) -> None:
    old = tmp_path / "old"
    home = write_dagster_home(old / ".dagster")
    remember_dagster_home(old / ".env", home)
    new = old.rename(tmp_path / "new")
    assert remember_dagster_home(new / ".env", new / ".dagster")
    assert dotenv_values(new / ".env") == {"DAGSTER_HOME": str(new / ".dagster")}


def test_a_new_env_file_is_for_its_owner_only(tmp_path: Path) -> None:
    remember_dagster_home(tmp_path / ".env", tmp_path / ".dagster")
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
