"""Each Python example of the documentation is run as it stands, and prints what the page says that it prints.

A page is one program: its ``python`` blocks run in order, in one namespace, in an empty folder. What a block prints is
the ``text`` block right after it, in which ``...`` stands for what differs from day to day; a block without one has an
``assert``. The instance is the one that docs/library.md starts.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator, SimulatorServer

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://127.0.0.1:8765"
ELSEWHERE = {"retention.md", "sign-in.md", "simulator.md"}  # theirs show other instances, or other programs' tests
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block: where it begins, the program, and what it prints, if the page says so."""

    line: int
    code: str
    prints: str | None


def examples(text: str) -> list[Example]:
    """The Python blocks of a page."""
    found = list(_FENCE.finditer(text))
    made = []
    for block, after in zip_longest(found, found[1:]):
        if block[1] != "python":
            continue
        follows = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
        line = text.count("\n", 0, block.start(2))
        made.append(Example(line, block[2], after[2] if after is not None and follows else None))
    return made


def library_of(readme: str) -> str:
    """The section of the README that is run: the others show pulls of instances of the reader's own."""
    before, _, rest = readme.partition("## As a library\n")
    section = rest.partition("\n## ")[0]
    return "\n" * before.count("\n") + section


def pages() -> dict[str, str]:
    """The text of each page with examples, by its name."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
    texts["README.md"] = library_of((ROOT / "README.md").read_text(encoding="utf-8"))
    return {name: text for name, text in texts.items() if name not in ELSEWHERE and examples(text)}


PAGES = pages()


@pytest.fixture(scope="module")
def instance() -> Iterator[SimulatorServer]:
    """The instance that the reader is told to start."""
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    command = re.search(r"^\$ snow-assets (simulate .+)$", page, re.MULTILINE)
    assert command is not None
    options = shlex.split(command[1])
    pairs = dict(zip(options[1::2], options[2::2], strict=True))
    assert pairs["--port"] == ADDRESS.rpartition(":")[2]
    table, _, number = pairs["--rows"].partition("=")
    with Simulator(rows={table: int(number)}, seed=int(pairs["--seed"])).serve() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("SNOW_") or name == "DAGSTER_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(page: str, text: str, address: str) -> None:
    """Run the examples of a page. Raises ``AssertionError`` where one prints something else than the page says."""
    namespace: dict[str, object] = {"__name__": "example"}
    for example in examples(text):
        code = "\n" * example.line + example.code.replace(ADDRESS, address)  # lines are those of the page
        linecache.cache[page] = (len(code), None, code.splitlines(keepends=True), page)  # tracebacks show them
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), namespace)
        said = printed.getvalue().replace(address, ADDRESS)
        if example.prints is None:
            assert not said, f"{page}:{example.line}: prints what the page does not show:\n{said}"
            assert re.search(r"^\s*assert ", code, re.MULTILINE), f"{page}:{example.line}: nothing of it is checked"
        else:
            assert is_as_shown(said, example.prints), f"{page}:{example.line}: shown:\n{example.prints}\nsaid:\n{said}"


def is_as_shown(said: str, shown: str) -> bool:
    """Whether ``said`` is ``shown``, in which ``...`` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), said, re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_do_what_the_page_says(page: str, instance: SimulatorServer) -> None:
    run(page, PAGES[page], instance.url)


@pytest.mark.parametrize("page", PAGES)
def test_no_example_of_a_page_is_left_out(page: str) -> None:
    fences = [fence[1] for fence in _FENCE.finditer(PAGES[page])]
    assert len(examples(PAGES[page])) == fences.count("python")
    assert not {"py", "python3", "pycon"} & set(fences)


def test_an_example_that_says_something_else_is_found(instance: SimulatorServer) -> None:
    page = "```python\nx = 1\nprint(x, 'http://127.0.0.1:8765')\n```\n\n```text\n1 http://127.0.0.1:8765\n```\n"
    run("page", page, instance.url)
    with pytest.raises(AssertionError, match="page:1: shown"):
        run("page", page.replace("x = 1", "x = 2"), instance.url)
    with pytest.raises(AssertionError, match="nothing of it is checked"):
        run("page", "```python\nx = 1\n```\n", instance.url)
    with pytest.raises(AssertionError, match="does not show"):
        run("page", page.replace("```text", "Words.\n\n```text"), instance.url)
    with pytest.raises(NameError, match="missing"):
        run("page", "```python\nassert missing\n```\n", instance.url)
