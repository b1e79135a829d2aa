"""Documents are exported whole, and what changed between two exports is told exactly, also to who missed some."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from snow_assets.config import DocumentsConfig
from snow_assets.documents import Document
from snow_assets.documents import export as module
from snow_assets.documents.declared import write_documents
from snow_assets.documents.export import Export, read_export
from snow_assets.documents.exported import documents_changes, read_documents
from snow_assets.errors import ConfigError, LandingError, PlanIncomplete
from snow_assets.pulls import Landing
from snow_assets.pulls.object_store import ObjectStore
from snow_assets.pulls.stores import LocalStore
from snow_assets.simulator import SimulatorServer
from snow_assets_tests.documents.exporting import Index, Making, edit, lines, pull_again
from snow_assets_tests.pulls.sweeping import Deltas, small_instance
from snow_assets_tests.pulls.test_disk import files_of_at_most

ROWS = 60
Mode = Literal["full", "delta"]


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with small_instance(ROWS).serve() as one:
        yield one


@pytest.fixture
def making(server: SimulatorServer, tmp_path: Path) -> Making:
    """A full pull that is published."""
    return made(server, tmp_path, "full")


def made(server: SimulatorServer, tmp_path: Path, mode: Mode) -> Making:
    deltas = Deltas(server, tmp_path / "data", mode=mode, page_size=40)
    if mode == "delta":
        deltas.base()
    else:
        deltas.pull_all()
    return Making(deltas)


def deltas_of(making: Making) -> Deltas:
    assert isinstance(making.bench, Deltas)
    return making.bench


def folder_of(making: Making) -> Path:
    return making.bench.data / "incidents.documents"


def is_whole(export: Export) -> bool:
    contents = [Path(file.location).read_bytes() for file in export.files]
    return [(len(each), hashlib.sha256(each).hexdigest()) for each in contents] == [
        (file.size, file.sha256) for file in export.files
    ]


def figures(export: Export) -> tuple[int, int, int, int]:
    return export.added, export.changed, export.deleted, export.unchanged


def test_every_row_is_a_document_in_both_files_in_the_order_of_ids(making: Making) -> None:
    export = making.export()
    expected = sorted(making.documents(), key=lambda each: each.id)
    table = pq.read_table(export.files[0].location)
    assert table.column_names == [
        "id", "sys_id", "number", "table", "url", "page_content", "metadata", "content_hash", "updated_at",
    ]  # fmt: skip
    assert [Document(row["page_content"], json.loads(row["metadata"])) for row in table.to_pylist()] == expected
    assert table["updated_at"][0].as_py().isoformat() == "2026-11-20T10:00:00+00:00"
    assert lines(export, "jsonl") == [
        {"id": each.id, "page_content": each.page_content, "metadata": each.metadata, "content_hash": each.content_hash}
        for each in expected
    ]
    assert list(read_documents("incidents", data=str(making.bench.data))) == expected
    assert is_whole(export)
    assert (export.previous, figures(export)) == (None, (ROWS, 0, 0, 0))


def test_an_export_of_the_same_is_not_written_again(making: Making) -> None:
    first = making.export()
    before = {path: path.stat().st_mtime_ns for path in folder_of(making).iterdir()}
    again = making.export()
    assert (first.written, again.written) == (True, False)
    assert again == read_export(making.bench.landing)
    assert {path: path.stat().st_mtime_ns for path in folder_of(making).iterdir()} == before
    anew = making.export(again=True)
    assert (anew.export, anew.digest, figures(anew)) == (f"{anew.plan}-2", first.digest, (0, 0, 0, ROWS))


@pytest.mark.parametrize("mode", ["full", "delta"])
def test_what_changed_between_two_pulls_is_told_exactly(server: SimulatorServer, tmp_path: Path, mode: Mode) -> None:
    making = made(server, tmp_path, mode)
    first = making.export()
    done = edit(deltas_of(making))
    export = making.export()
    assert {each["id"].partition("/")[2]: each["change"] for each in lines(export, "changes.jsonl")} == done
    assert figures(export) == (1, 1, 1, ROWS - 2)
    assert (export.previous, export.previous_plan, export.rows) == (first.export, first.plan, ROWS)
    hashes = {each["id"]: each["content_hash"] for each in lines(first, "jsonl")}
    now = {each["id"]: each["content_hash"] for each in lines(export, "jsonl")}
    for each in lines(export, "changes.jsonl"):
        assert (each["previous_hash"], each["content_hash"]) == (hashes.get(each["id"]), now.get(each["id"]))
    assert pq.read_table(export.files[2].location).to_pylist() == lines(export, "changes.jsonl")
    assert is_whole(export)


def test_an_index_that_misses_exports_catches_up_by_the_changes_alone(making: Making) -> None:
    index, eager = Index(making), Index(making)
    deltas = deltas_of(making)
    making.export()
    assert (index.keep_up(), eager.keep_up()) == (ROWS, ROWS)
    *_, back, last = deltas.ids_of()
    was = next(row["short_description"] for row in deltas.sim.rows("incident") if row["sys_id"] == back)
    for text in ("away", was):
        deltas.sim.update("incident", back, short_description=text)
        brief = deltas.sim.insert("incident", short_description="brief")
        edit(deltas)
        making.export()
        assert eager.keep_up() == (5 if text == "away" else 6)
        deltas.sim.delete("incident", brief)
    deltas.sim.delete("incident", last)
    pull_again(deltas)
    making.export()
    assert eager.keep_up() == 2
    changes = making.changed(index.at)
    assert changes[back] == "changed"  # it is what it was
    assert changes[brief] == "deleted"  # it came and went
    assert changes[last] == "deleted"
    assert index.keep_up() == len(changes)
    assert index.is_right()
    assert eager.is_right()
    assert (index.keep_up(), eager.keep_up()) == (0, 0)


def test_an_index_that_died_half_way_catches_up_also_with_what_came_and_went_since(making: Making) -> None:
    index, deltas = Index(making), deltas_of(making)
    making.export()
    index.keep_up()
    *_, back = deltas.ids_of()
    was = next(row["short_description"] for row in deltas.sim.rows("incident") if row["sys_id"] == back)
    deltas.sim.update("incident", back, short_description="away")
    brief = deltas.sim.insert("incident", short_description="brief")
    pull_again(deltas)
    making.export()
    assert index.keep_up(until=2) == 2  # what it holds now is no export's
    deltas.sim.update("incident", back, short_description=was)
    deltas.sim.delete("incident", brief)
    pull_again(deltas)
    making.export()
    index.keep_up()
    assert index.is_right()


def test_an_index_can_give_its_own_hashes_instead(making: Making) -> None:
    making.export()
    known = {each.id: each.content_hash for each in making.documents()}
    done = edit(deltas_of(making))
    making.export()
    found = documents_changes("incidents", known=known, data=str(making.bench.data))
    assert {each.id.partition("/")[2]: each.change for each in found} == done


def test_another_recipe_is_a_new_export_of_the_same_plan_and_says_so(making: Making) -> None:
    first = making.export()
    making.template = "{short_description}"
    second = making.export()
    assert (second.plan, second.export, second.new_recipe) == (first.plan, f"{first.plan}-2", True)
    assert figures(second) == (0, ROWS, 0, 0)
    assert is_whole(first)
    making.template = "{number}: {short_description}"
    third = making.export()
    assert (third.export, third.digest) == (f"{first.plan}-3", first.digest)
    assert len(making.changed(second.export)) == ROWS
    there_and_back = making.changed(second.export)  # who stopped half-way holds some of either
    assert making.changed(first.export) == making.changed(first.plan) == there_and_back


def test_rows_of_another_pull_that_documents_are_made_of_make_a_new_export(making: Making) -> None:
    making.template, making.beside = "{number} {journals}", {"journals": "20261120T020000Z"}
    making.export()
    assert making.export().written is False
    making.beside = {"journals": "20261120T030000Z"}
    export = making.export()
    assert (export.written, export.new_recipe, export.beside) == (True, False, making.beside)
    assert figures(export) == (0, ROWS, 0, 0)


POINTS = range(1, 11)  # each write to the folder: four files and their notes, the manifest; then removals


def test_a_kill_at_any_write_leaves_the_export_before_and_the_next_run_ends_it(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index(making)
    making.export()
    edit(deltas_of(making))
    making.export()
    index.keep_up()
    for point in POINTS:
        before = making.export()
        making.template += "."
        with monkeypatch.context() as killed:
            die_at(killed, point)
            with pytest.raises(KeyboardInterrupt):
                making.export()
        named = read_export(making.bench.landing)
        assert named is not None
        assert is_whole(named)
        assert (named == before) == (point < POINTS[-1])
        export = making.export()
        assert (export.previous, figures(export), is_whole(export)) == (before.export, (0, ROWS, 0, 0), True)
        assert index.keep_up() == ROWS
        assert index.is_right()
    making.template += "."
    making.export()
    assert not list(folder_of(making).glob("*parts.json"))


def die_at(patch: pytest.MonkeyPatch, point: int) -> None:
    """The process ends before so many writes to the folder of the documents were done."""
    done: list[str] = []

    def dying(name: str) -> Any:
        real = getattr(LocalStore, name)

        def write(store: LocalStore, *given: Any) -> Any:
            if store.location.endswith(".documents"):
                done.append(name)
                if len(done) == point:
                    raise KeyboardInterrupt
            return real(store, *given)

        return write

    for name in ("write", "replace", "remove"):
        patch.setattr(LocalStore, name, dying(name))


def test_a_file_that_a_dead_run_finished_is_adopted_unless_it_was_made_of_something_else(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    documents = making.documents

    def noted() -> Iterator[Document]:
        read.append(making.template)
        return documents()

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "documents", noted)
    monkeypatch.setattr(module, "write_manifest", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            making.export()
    assert len(read) == 1
    making.template = "other {number}"
    monkeypatch.undo()
    export = making.export()
    assert lines(export, "jsonl")[0]["page_content"].startswith("other ")


def test_changes_are_kept_for_some_exports_and_who_asks_for_older_is_told_to_index_anew(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_CHANGES", 3)
    names = []
    for _ in range(5):
        names.append(making.export().export)
        edit(deltas_of(making))
    newest = making.export()
    kept = {path.name for path in folder_of(making).iterdir()} - {"documents.json"}
    whole = {f"{each}.{end}" for each in (names[-1], newest.export) for end in ("parquet", "jsonl", "changes.jsonl")}
    assert kept == whole | {f"{each}.changes.parquet" for each in (*names[-2:], newest.export)}
    assert len(making.changed(names[2])) > 3
    with pytest.raises(ConfigError, match=f"since '{names[1]}'.*index every document anew.*{newest.export}"):
        making.changed(names[1])
    with pytest.raises(ConfigError, match="index every document anew"):
        making.changed("nonsense")


def test_where_the_documents_before_are_lost_nobody_is_told_half_of_what_changed(making: Making) -> None:
    first = making.export()
    Path(first.files[0].location).write_bytes(b"PAR1")
    export = making.export()
    assert (export.written, export.previous, figures(export)) == (True, None, (ROWS, 0, 0, 0))
    with pytest.raises(ConfigError, match="index every document anew"):
        making.changed(first.export)


@pytest.mark.parametrize("killed", [True, False])
def test_an_index_is_never_told_that_it_is_up_to_date_by_a_name_that_was_used_before(
    making: Making, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """The manifest is gone, and the rows are worded anew: no second export bears the first one's name."""
    index = Index(making)
    with monkeypatch.context() as patch:
        if killed:
            patch.setattr(module, "prune", dying)
        with pytest.raises(KeyboardInterrupt) if killed else nullcontext():
            making.export()
    making.export()
    index.keep_up()
    (folder_of(making) / "documents.json").unlink()
    making.template += "!"
    assert making.export().export != index.at
    with pytest.raises(ConfigError, match="index every document anew"):
        index.keep_up()


def dying(*_: object) -> None:
    raise KeyboardInterrupt


def test_documents_that_cannot_be_made_of_a_pull_are_refused_by_name(making: Making) -> None:
    wanted = DocumentsConfig(include_relationships="relations")
    with pytest.raises(ConfigError, match="incident has no relations"):
        write_documents("incidents", wanted, data=str(making.bench.data))


def test_documents_that_are_not_one_for_each_row_are_no_export(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    known = making.export()
    documents = list(making.documents())
    making.template = "{number}"
    monkeypatch.setattr(making, "documents", lambda: iter(documents[1:]))
    with pytest.raises(PlanIncomplete, match=f"{ROWS - 1} documents were made of {ROWS} published rows"):
        making.export()
    monkeypatch.setattr(making, "documents", lambda: iter([*documents[1:], documents[5]]))
    with pytest.raises(PlanIncomplete, match=f"{documents[5].id} is there twice.*documents incidents --again"):
        making.export()
    assert read_export(making.bench.landing) == replace(known, written=False)


def test_rows_that_are_published_anew_meanwhile_are_those_that_are_exported(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = making.documents
    times: list[int] = []

    def meanwhile() -> Iterator[Document]:
        times.append(1)
        if len(times) == 1:
            deltas_of(making).sim.insert("incident", short_description="new")
            deltas_of(making).pull_all()
        return documents()

    monkeypatch.setattr(making, "documents", meanwhile)
    export = making.export()
    assert (len(times), export.rows) == (2, ROWS + 1)
    assert export.plan == deltas_of(making).landing.plan_ids()[-1]


def test_an_empty_pull_has_no_documents_and_nothing_published_no_export(
    server: SimulatorServer, tmp_path: Path
) -> None:
    making = Making(Deltas(server, tmp_path / "data", mode="full", query="number=none"))
    with pytest.raises(ConfigError, match="nothing is published"):
        making.export()
    with pytest.raises(ConfigError, match=r"no documents were exported.*snow-assets documents incidents"):
        making.changed(None)
    assert not folder_of(making).exists()
    making.bench.pull_all()
    export = making.export()
    assert (export.rows, figures(export), lines(export, "jsonl"), making.changed(None)) == (0, (0, 0, 0, 0), [], {})


def test_exports_go_to_an_object_store(server: SimulatorServer, tmp_path: Path) -> None:
    deltas = Deltas(server, tmp_path / "bucket", mode="full")
    (tmp_path / "bucket" / "incidents").mkdir(parents=True)
    (tmp_path / "bucket" / "incidents.documents").mkdir()
    deltas.landing = Landing("incidents", ObjectStore((tmp_path / "bucket" / "incidents").as_uri()))
    making = Making(deltas)
    deltas.pull_all()
    first = making.export()
    done = edit(deltas)
    export = making.export()
    assert (first.export, figures(export)) == (export.previous, (1, 1, 1, ROWS - 2))
    jsonl = (tmp_path / "bucket" / "incidents.documents" / export.files[3].name).read_bytes()
    assert {json.loads(line)["id"].partition("/")[2]: json.loads(line)["change"] for line in jsonl.splitlines()} == done


def test_a_full_disk_is_named_and_leaves_the_export_before(making: Making) -> None:
    known = making.export()
    edit(deltas_of(making))
    with files_of_at_most(3_000), pytest.raises(LandingError, match=f"{folder_of(making)}.*File too large"):
        making.export()
    assert is_whole(known)
    assert not list(folder_of(making).glob(".*"))
    assert figures(making.export()) == (1, 1, 1, ROWS - 2)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_damaged_manifest_or_file_is_told_by_name(making: Making) -> None:
    export = making.export()
    edit(deltas_of(making))
    export = making.export()
    path = Path(export.files[2].location)
    path.write_bytes(b"nonsense")
    with pytest.raises(LandingError, match=f"{path}.*is damaged.*index every document anew"):
        making.changed(export.previous)
    (folder_of(making) / "documents.json").write_text("{")
    with pytest.raises(LandingError, match=r"documents\.json.*is damaged"):
        making.export()
