"""The documentation says what is so. With ``UPDATE_DOCS=1`` these tests renew what is derived."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from snow_assets.cli.main import main
from snow_assets.config import Credentials, InstanceConfig, PullConfig
from snow_assets.servicenow.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def is_derived(name: str, mark: str, text: str) -> None:
    """Assert that ``text`` stands between the marks of a page; put it there when asked to."""
    before, _, rest = page(name).partition(f"<!-- {mark} -->\n")
    stands, _, after = rest.partition(f"<!-- /{mark} -->")
    if os.environ.get("UPDATE_DOCS"):
        (ROOT / "docs" / name).write_text(f"{before}<!-- {mark} -->\n{text}<!-- /{mark} -->{after}", encoding="utf-8")
        return
    assert stands == text, f"docs/{name} is behind: UPDATE_DOCS=1 pytest {Path(__file__).name}"


def test_every_fault_is_in_the_table() -> None:
    def done(fault: Fault) -> str:
        words = {"pause": fault.pause, "halve": fault.halve, "retry": fault.retry and not fault.halve}
        words |= {"halve at last": fault.halve_at_last, "stop": fault.fatal}
        return ", ".join(word for word, holds in words.items() if holds)

    rows = "".join(f"| `{each.name}` | {each.recognised_by} | {done(each)} |\n" for each in FAULTS.values())
    is_derived("reliability.md", "faults", f"| fault | recognised by | what is done |\n|---|---|---|\n{rows}")


def test_every_command_is_shown_with_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = command_group()
    context = click.Context(group, info_name="snow-assets")
    shown = []
    for name in with_commands_of_groups(group, context):
        result = CliRunner().invoke(group, [*name.split(), "--help"], prog_name="snow-assets", terminal_width=80)
        assert result.exit_code == 0, name
        shown.append(f"### {name}\n\n```text\n{common_options_removed(result.output).rstrip()}\n```\n\n")
    is_derived("cli.md", "help", "\n" + "".join(shown))


def command_group() -> click.Group:
    from snow_assets.cli import main as module

    groups = [each for each in vars(module).values() if isinstance(each, click.Group)]
    assert groups, main
    return groups[0]


def with_commands_of_groups(group: click.Group, context: click.Context) -> Iterator[str]:
    """Every command by what is typed after ``snow-assets``."""
    for name in group.list_commands(context):
        yield name
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            below = with_commands_of_groups(found, click.Context(found, parent=context))
            yield from (f"{name} {each}" for each in below)


def common_options_removed(text: str) -> str:
    """``--help`` of a command, without its last line about itself."""
    return re.sub(r"\n  -h, --help .*", "", text)


def keys_of(model: type[PullConfig | InstanceConfig]) -> list[str]:
    """The keys as they are written in YAML."""
    return [field.alias or name for name, field in model.model_fields.items()]


@pytest.mark.parametrize("model", [PullConfig, InstanceConfig])
def test_every_key_of_pulls_yaml_is_explained(model: type[PullConfig | InstanceConfig]) -> None:
    missing = [key for key in keys_of(model) if key != "name" and f"| `{key}` |" not in page("pulls.md")]
    assert not missing


def test_no_key_is_explained_that_does_not_exist() -> None:
    known = {*keys_of(PullConfig), *keys_of(InstanceConfig)}
    assert set(re.findall(r"^\| `(\w+)` \|", page("pulls.md"), re.MULTILINE)) <= known


def test_every_variable_is_explained() -> None:
    of_sign_in = {*Credentials.VARIABLES.values(), "SNOW_PROXY"}
    variables = {*of_sign_in, "SNOW_INSTANCE_URL", "SNOW_DATA_DIR", "SNOW_PULLS", "SNOW_DBT_DIR"}
    assert not [name for name in of_sign_in if f"`{name}`" not in page("sign-in.md")]
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in variables:
        assert f"`{name}`" in page("getting-started.md"), name
        assert f"{name}=" in example, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_of_the_pages_exist(path: Path) -> None:
    group = command_group()
    known = set(group.list_commands(click.Context(group)))
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"^\$ (?:\S*/)?snow-assets ([a-z]+)", text, re.MULTILINE)) <= known
    assert set(re.findall(r"(?:`|^\$ )make ([a-z][a-z-]+)", text, re.MULTILINE)) <= targets


def test_python_examples_compile() -> None:
    for path in PAGES:
        for example in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            compile(example, str(path), "exec")


def test_changelog_names_the_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"## {version[1]} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_promise_names_tests_that_exist() -> None:
    """A promise without a test is an advertisement."""
    section = page("reliability.md").partition("## Promises")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) >= 20
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for path, name in named:
            source = ROOT / "snow_assets_tests" / path
            assert source.exists(), path
            assert f"def {name}(" in source.read_text(encoding="utf-8"), f"{path}::{name}"
