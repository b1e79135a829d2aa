"""A corpus holds what is published, key for key, and says so; what is finished is not written twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from snow_assets.errors import ConfigError, LandingError, PlanIncomplete
from snow_assets.pulls import Landing, ordered, published
from snow_assets.pulls import corpus as module
from snow_assets.pulls.corpus import Corpus, export_corpus, read_corpus
from snow_assets.pulls.object_store import ObjectStore
from snow_assets.pulls.ordered import write_ordered
from snow_assets.pulls.records import raw_records
from snow_assets.simulator import SimulatorServer
from snow_assets.simulator.knobs import HiddenRows
from snow_assets_tests.pulls.conftest import FIELDS, Workbench, read_plainly
from snow_assets_tests.pulls.sweeping import FIELDS as DELTA_FIELDS
from snow_assets_tests.pulls.sweeping import Deltas, small_instance


@pytest.fixture(scope="module")
def instance() -> Iterator[SimulatorServer]:
    with small_instance().serve() as server:
        yield server


@pytest.fixture
def workbench(instance: SimulatorServer, tmp_path: Path) -> Workbench:
    """Slices of 40 rows, of an instance that no test changes."""
    return Workbench(instance, tmp_path / "data", page_size=40, slice_rows=40)


def records(corpus: Corpus) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(corpus.files[1].location).read_bytes().splitlines()]


def value(cell: Any) -> Any:
    return cell["value"] if isinstance(cell, dict) else cell


def is_whole(corpus: Corpus) -> bool:
    """Whether the files are what the manifest says."""
    parquet, jsonl = corpus.files
    assert pq.ParquetFile(parquet.location).metadata.num_rows == parquet.rows == jsonl.rows == corpus.rows
    contents = [Path(file.location).read_bytes() for file in corpus.files]
    return [(len(content), hashlib.sha256(content).hexdigest()) for content in contents] == [
        (file.size, file.sha256) for file in corpus.files
    ]


@pytest.mark.parametrize("display_value", ["all", "true", "false"])
def test_a_full_pull_is_exported_key_for_key_in_order_and_counted(
    workbench: Workbench, display_value: Literal["all", "true", "false"]
) -> None:
    workbench.pull = workbench.pull.model_copy(update={"display_value": display_value})
    totals = workbench.pull_all()
    corpus = export_corpus(workbench.landing)
    assert records(corpus) == read_plainly(workbench.server, "incident", FIELDS, display_value)
    assert is_whole(corpus)
    assert (corpus.plan, corpus.counted, corpus.digest) == (totals.plan, totals.counted, totals.digest)
    assert pq.read_schema(corpus.files[0].location).names == list(FIELDS)
    again = export_corpus(workbench.landing)
    assert (corpus.changed, again.changed) == (True, False)
    assert (again.files, read_corpus(workbench.landing)) == (corpus.files, again)
    anew = export_corpus(workbench.landing, again=True)
    assert (anew.changed, anew.files[1]) == (True, corpus.files[1])  # equal rows make equal files of records


def test_a_delta_pull_is_exported_as_its_current_rows_without_columns_of_ours(tmp_path: Path) -> None:
    with small_instance().serve() as server:
        deltas = Deltas(server, tmp_path)
        deltas.base()
        first = export_corpus(deltas.landing)
        ids = deltas.ids_of()
        deltas.sim.update("incident", ids[0], short_description="told anew")
        deltas.sim.delete("incident", ids[1])
        deltas.sim.insert("incident", short_description="new")
        deltas.publish(deltas.delta())
        corpus = export_corpus(deltas.landing)
        plain = read_plainly(server, "incident", (*DELTA_FIELDS, "sys_updated_on", "sys_mod_count"), "all")
        assert records(corpus) == sorted(plain, key=lambda record: str(value(record["sys_id"])))
        assert is_whole(corpus)
        assert (first.plan < corpus.plan, corpus.counted, corpus.mode) == (True, None, "delta")
        assert not any(name.startswith("_") for name in pq.read_schema(corpus.files[0].location).names)


def test_a_part_that_a_dead_run_finished_is_adopted_and_a_damaged_one_is_not(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench.pull_all()
    written: list[Path] = []
    write = write_ordered

    def noted(*given: Any) -> int:
        written.append(given[-1])
        return write(*given)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_ordered", noted)
    with monkeypatch.context() as dying:
        dying.setattr(module, "raw_records", killed)
        with pytest.raises(KeyboardInterrupt):
            export_corpus(workbench.landing)
        assert read_corpus(workbench.landing) is None
        assert len(written) == 1
    folder = workbench.data / "incidents.corpus"
    [part] = folder.glob("*.parquet")
    whole = part.read_bytes()
    part.write_bytes(whole[:-1] + b"?")
    export_corpus(workbench.landing)
    assert len(written) == 2
    (folder / "corpus.json").unlink()
    assert len(written) == 2

    with monkeypatch.context() as dying:
        dying.setattr(module, "_must_be_valid", killed)  # both parts are finished, the manifest is not written
        with pytest.raises(KeyboardInterrupt):
            export_corpus(workbench.landing)
    written.clear()
    corpus = export_corpus(workbench.landing)
    assert written == []
    assert is_whole(corpus)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["corpus.json", f"{corpus.plan}.jsonl", f"{corpus.plan}.parquet"]
    )


def test_rows_that_are_not_those_that_were_published_are_no_corpus(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbench.pull_all()
    read = raw_records

    def short(*given: Any) -> Any:
        rows = list(read(*given))
        return rows[:-1]

    monkeypatch.setattr(module, "raw_records", short)
    with pytest.raises(PlanIncomplete, match=r"jsonl has 119 rows, 120 are published.*digests differ"):
        export_corpus(workbench.landing)
    assert read_corpus(workbench.landing) is None

    def other(*given: Any) -> Any:
        return [{**record, "number": "INC0"} for record in read(*given)]

    monkeypatch.setattr(module, "raw_records", other)
    with pytest.raises(PlanIncomplete, match="digests differ"):
        export_corpus(workbench.landing, again=True)


def test_the_newest_two_exports_stay(workbench: Workbench) -> None:
    plans = []
    for _ in range(3):
        plans.append(workbench.pull_all().plan)
        export_corpus(workbench.landing)
    names = {path.name for path in (workbench.data / "incidents.corpus").iterdir()}
    assert names == {"corpus.json"} | {f"{plan}.{kind}" for plan in plans[1:] for kind in ("jsonl", "parquet")}


def test_an_empty_pull_is_an_empty_corpus(workbench: Workbench) -> None:
    workbench.pull = workbench.pull.model_copy(update={"query": "number=none"})
    workbench.pull_all()
    corpus = export_corpus(workbench.landing)
    assert (corpus.rows, records(corpus)) == (0, [])
    assert pq.read_schema(corpus.files[0].location).names == list(FIELDS)


def test_a_corpus_goes_to_an_object_store(workbench: Workbench, tmp_path: Path) -> None:
    root = tmp_path / "bucket" / "incidents"
    root.mkdir(parents=True)
    workbench.landing = Landing("incidents", ObjectStore(root.as_uri()))
    (tmp_path / "bucket" / "incidents.corpus").mkdir()
    workbench.pull_all()
    corpus = export_corpus(workbench.landing)
    jsonl = (tmp_path / "bucket" / "incidents.corpus" / corpus.files[1].name).read_bytes()
    assert (len(jsonl.splitlines()), hashlib.sha256(jsonl).hexdigest()) == (corpus.rows, corpus.files[1].sha256)
    assert export_corpus(workbench.landing).changed is False


def test_nothing_published_is_no_corpus_and_a_damaged_manifest_is_told(workbench: Workbench) -> None:
    with pytest.raises(ConfigError, match="nothing is published"):
        export_corpus(workbench.landing)
    assert not workbench.data.exists()
    workbench.pull_all()
    export_corpus(workbench.landing)
    assert published(workbench.landing) is not None
    (workbench.data / "incidents.corpus" / "corpus.json").write_text("{")
    with pytest.raises(LandingError, match="is damaged"):
        read_corpus(workbench.landing)


def test_hidden_rows_explain_why_fewer_are_there_than_were_counted(tmp_path: Path) -> None:
    with small_instance().serve() as server:
        bench = Workbench(server, tmp_path)
        hidden = frozenset(row["sys_id"] for row in server.sim.rows("incident")[:3])
        server.sim.knobs.hidden_rows = [HiddenRows("incident", sys_ids=hidden)]
        bench.pull_all()
        corpus = export_corpus(bench.landing)
    assert (corpus.rows, corpus.counted, corpus.hidden) == (117, 120, 3)
    assert {each.cause: each.rows for each in corpus.differences} == {"hidden": -3}


def test_a_table_that_is_read_by_a_key_is_exported_too(instance: SimulatorServer, tmp_path: Path) -> None:
    keyed = Workbench(instance, tmp_path, key=["number"], fields=("number", "state"))
    keyed.pull_all()
    numbers = [value(each["number"]) for each in records(export_corpus(keyed.landing))]
    assert numbers == sorted(row["number"] for row in instance.sim.rows("incident"))


def test_rows_of_many_files_are_put_in_order_in_portions(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Backwards, and in portions of a few rows each: the order does not follow from the files."""
    workbench.pull_all()
    dataset = published(workbench.landing)
    assert dataset is not None
    monkeypatch.setattr(ordered, "PORTION_BYTES", 5_000)
    target = tmp_path / "ordered.parquet"
    assert write_ordered(dataset.files[::-1], FIELDS, ("number", "sys_id"), 120, target) == 120
    numbers = [cell["value"] for cell in pq.read_table(target).column("number").to_pylist()]
    assert numbers == sorted(row["number"] for row in workbench.sim.rows("incident"))
    assert pq.ParquetFile(target).metadata.num_row_groups > 3
