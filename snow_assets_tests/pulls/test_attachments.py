"""Attachments of a pull's rows: every wanted file is there, whole; what is not is named; nothing is fetched twice."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from snow_assets.config import AttachmentsConfig
from snow_assets.errors import ConfigError, CredentialsError, FilesFailed, LandingError, SnowError
from snow_assets.pulls.attachments import SCHEMA, Attachments, read_attachments, sync_attachments
from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets.simulator.generate import attachment_bytes
from snow_assets.simulator.knobs import HiddenRows
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.sweeping import Deltas

Row = dict[str, Any]
ROWS = {"incident": 40, "change_request": 10, "kb_knowledge": 0, "sys_attachment": 40}


class Bench(Deltas):
    """A pull of incidents with attachments, published."""

    def __init__(self, server: SimulatorServer, data: Path, **config: Any) -> None:
        given = {"mode": "full", "fields": ("sys_id", "number"), "attachments": {}, "max_retries": 1, "max_workers": 2}
        super().__init__(server, data, **{**given, **config})
        self.folder = data / "incidents.attachments"
        self.server.faults.clear()

    def sync(self, *, verify: bool = False, **settings: Any) -> tuple[Attachments, SnowError | None]:
        with self.client(**settings) as client:
            return sync_attachments(self.pull, client, self.landing, verify=verify)

    def synced(self, **settings: Any) -> Attachments:
        found, error = self.sync(**settings)
        assert error is None
        return found

    def table(self) -> dict[str, Row]:
        rows: list[Row] = pq.read_table(self.folder / "attachments.parquet").to_pylist()
        assert [row["sys_id"] for row in rows] == sorted({row["sys_id"] for row in rows})
        return {row["sys_id"]: row for row in rows}

    def content(self, row: Row) -> bytes:
        return Path(self.folder / row["path"]).read_bytes()

    def of_incidents(self) -> dict[str, Row]:
        """Attachments of incidents, as the instance has them."""
        ids = {row["sys_id"] for row in self.sim.rows("incident")}
        return {row["sys_id"]: dict(row) for row in self.sim.rows("sys_attachment") if row["table_sys_id"] in ids}

    def attach(self, content: bytes, **values: str) -> str:
        """A new attachment of the first incident."""
        described = {"size_bytes": str(len(content)), "hash": hashlib.sha256(content).hexdigest()}
        owner = {"table_name": "incident", "table_sys_id": self.sim.rows("incident")[0]["sys_id"]}
        named = {"file_name": "new.txt", "content_type": "text/plain"}
        sys_id = self.sim.insert("sys_attachment", {**described, **owner, **named, **values})
        self.sim.files[sys_id] = content
        return sys_id

    def fetched(self) -> int:
        return len(self.server.requests.find(kind="file"))


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatorServer]:
    with Simulator(rows=ROWS, seed=3).serve() as server:
        yield server


@pytest.fixture
def bench(shared: SimulatorServer, tmp_path: Path) -> Bench:
    """Of an instance whose attachments no test changes."""
    made = Bench(shared, tmp_path)
    made.pull_all()
    shared.requests.clear()
    return made


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Bench]:
    """Of an instance of its own, with few attachments."""
    with Simulator(rows=ROWS, seed=3).serve() as server:
        made = Bench(server, tmp_path)
        made.pull_all()
        yield made


def test_every_attachment_of_the_rows_lands_with_its_bytes_and_no_other_does(bench: Bench) -> None:
    found = bench.synced()
    table, there = bench.table(), bench.of_incidents()
    assert set(table) == set(there)
    assert len(there) < len(bench.sim.rows("sys_attachment"))
    for sys_id, row in table.items():
        assert (row["state"], row["reason"], row["hash"]) == ("landed", "", there[sys_id]["hash"])
        assert bench.content(row) == attachment_bytes(sys_id)
        assert f"{row['sys_updated_on']:%Y-%m-%d %H:%M:%S}" == there[sys_id]["sys_updated_on"]
    assert pq.read_schema(bench.folder / "attachments.parquet").equals(SCHEMA)
    assert (found.landed, found.fetched) == (len(there), len(there))
    assert found.bytes == found.fetched_bytes == sum(int(row["size_bytes"]) for row in there.values())
    assert read_attachments(bench.landing) == found
    assert sorted(path.name for path in bench.folder.iterdir()) == ["attachments.parquet", "files"]


def test_what_landed_is_not_fetched_again_with_and_without_the_table_and_a_wrong_file_is(bench: Bench) -> None:
    bench.synced()
    bench.server.requests.clear()
    assert bench.synced().fetched == 0
    (bench.folder / "attachments.parquet").unlink()  # as if the run had been killed before its end
    assert bench.synced().fetched == 0
    assert bench.fetched() == 0

    rows = [row for row in bench.table().values() if row["size_bytes"] > 20]
    (bench.folder / rows[0]["path"]).unlink()
    (bench.folder / rows[1]["path"]).write_bytes(b"cut")
    assert bench.synced().fetched == 2
    spoilt = bench.folder / rows[2]["path"]
    spoilt.write_bytes(bytes(reversed(spoilt.read_bytes())))
    assert bench.synced().fetched == 0  # the run before is trusted
    assert bench.synced(verify=True).fetched == 1
    assert bench.content(rows[2]) == attachment_bytes(rows[2]["sys_id"])


def test_too_large_and_unwanted_ones_are_listed_with_the_reason(shared: SimulatorServer, tmp_path: Path) -> None:
    bench = Bench(shared, tmp_path, attachments={"max_size": 2_000, "content_types": ["text/*", "image/png"]})
    bench.pull_all()
    found = bench.synced()
    states = {(row["content_type"], row["size_bytes"] > 2_000): row for row in bench.table().values()}
    assert states["application/zip", True]["reason"].startswith("its content type application/zip")
    assert states["text/csv", True]["reason"] == "larger than max_size, 2,000 bytes"
    assert states["image/png", False]["state"] == "landed"
    assert (found.landed + found.skipped, found.failed) == (len(bench.of_incidents()), 0)
    assert not any(row["path"] for row in bench.table().values() if row["state"] == "skipped")
    bench.pull = bench.pull.model_copy(update={"attachments": AttachmentsConfig()})  # no limits any more
    assert bench.synced().fetched == found.skipped


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "truncated_length"}, "truncated_body"),
    ({"kind": "truncated"}, "wrong_file"),
    ({"kind": "html_503"}, "gateway_error"),
    ({"kind": "error_500"}, "server_error"),
    ({"kind": "reset_inside_body"}, "connection_reset"),
    ({"kind": "dropped_202"}, "accepted_202"),
    ({"kind": "answer", "body": "<html><body>Sorry</body></html>", "content_type": "text/html"}, "html"),
    ({"kind": "answer", "body": "another file"}, "wrong_file"),
    ({"kind": "forbidden_403"}, "forbidden_api"),
    ({"kind": "not_found_404"}, "not_found"),
]


def test_a_fault_is_tried_again_and_one_that_stays_fails_its_file_by_name_and_no_other(alone: Bench) -> None:
    victims = [sys_id for sys_id, row in alone.of_incidents().items() if int(row["size_bytes"]) > 20]
    names: dict[str, str] = {}
    for victim, (fault, name) in zip(victims, FAULTS * 2, strict=False):
        alone.server.faults.add({**fault, "request": "file", "sys_id": victim})
        names[victim] = name
    assert set(names.values()) == {name for _, name in FAULTS}
    alone.server.faults.add({"kind": "truncated_length", "request": "file", "times": 2})  # passes
    found, error = alone.sync()
    table = alone.table()
    assert {sys_id for sys_id, row in table.items() if row["state"] == "failed"} == set(names)
    for sys_id, name in names.items():
        assert name in table[sys_id]["reason"], (name, table[sys_id]["reason"])
        assert not table[sys_id]["path"]
    assert (found.failed, found.landed) == (len(names), len(table) - len(names))
    assert isinstance(error, FilesFailed)
    assert all(sys_id in str(error) for sys_id, _, _ in found.failures[:3])

    alone.server.faults.clear()
    assert alone.synced().fetched == len(names)
    assert {row["state"] for row in alone.table().values()} == {"landed"}


def test_refused_credentials_end_the_run_and_what_was_not_asked_for_is_named(alone: Bench) -> None:
    alone.server.faults.add({"kind": "login_page", "request": "file", "after": 3})
    found, error = alone.sync()
    assert isinstance(error, CredentialsError)
    assert found.landed >= 3
    assert found.failed == len(alone.table()) - found.landed
    assert alone.fetched() < len(alone.table())
    alone.server.faults.clear()
    assert alone.synced().landed == len(alone.table())


def test_deleted_ones_are_marked_and_their_files_stay(alone: Bench) -> None:
    alone.synced()
    gone, late, left = list(alone.of_incidents())[:3]
    before = alone.table()
    alone.sim.delete("sys_attachment", gone)
    (alone.folder / before[late]["path"]).unlink()
    alone.sim.delete("incident", before[left]["table_sys_id"])
    alone.pull_all()

    def watch(asked: Any) -> None:
        if late in asked.path and alone.sim.store.find("sys_attachment", late):
            alone.sim.delete("sys_attachment", late)

    alone.sim.watchers.append(watch)
    found = alone.synced()
    table = alone.table()
    assert (table[gone]["state"], table[gone]["path"]) == ("deleted", before[gone]["path"])
    assert alone.content(table[gone]) == attachment_bytes(gone)
    assert (table[late]["state"], table[late]["reason"]) == ("deleted", "gone before it could be fetched")
    assert table[left]["state"] == "deleted"
    assert found.deleted == len(table) - found.landed
    assert alone.synced().deleted == found.deleted


def test_an_account_that_sees_less_than_before_deletes_nothing(alone: Bench) -> None:
    before = alone.synced()
    hidden = next(iter(alone.of_incidents()))
    alone.sim.knobs.hidden_rows = [HiddenRows("sys_attachment", sys_ids=frozenset({hidden}))]
    found = alone.synced()
    assert (found.hidden, found.deleted, found.landed) == (1, 0, before.landed)
    assert "hidden from this account" in alone.table()[hidden]["reason"]


def test_a_file_that_was_replaced_after_its_record_was_read_is_taken_as_it_is_now(alone: Bench) -> None:
    sys_id = alone.attach(b"the first")
    second = b"the second, which is longer"

    def watch(asked: Any) -> None:
        if f"{sys_id}/file" in asked.path:
            alone.sim.files[sys_id] = second
            hashed = hashlib.sha256(second).hexdigest()
            alone.sim.update("sys_attachment", sys_id, size_bytes=str(len(second)), hash=hashed)

    alone.sim.watchers.append(watch)
    alone.synced()
    row = alone.table()[sys_id]
    assert (alone.content(row), row["size_bytes"]) == (second, len(second))
    alone.sim.watchers.clear()
    assert alone.synced().fetched == 0


def test_hostile_names_stay_in_their_folder_and_real_pages_land(
    alone: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "it's temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    names = ["../../../etc/passwd", "/abs", "x" * 300 + ".pdf", "CON", "a\\b:c", "", "..", "\u202egnp.exe", "~/.ssh"]
    ids = {alone.attach(f"content {name}".encode(), file_name=name): name for name in names}
    page = alone.attach(b"<html><body>A saved page: login.do</body></html>", content_type="text/html")
    alone.synced()
    table = alone.table()
    for sys_id, name in ids.items():
        path = Path(table[sys_id]["path"])
        assert path.parts[:2] == ("files", sys_id[:2])
        assert len(path.parts) == 3
        assert path.name.startswith(f"{sys_id}-")
        assert len(path.name.encode()) < 200
        assert alone.content(table[sys_id]) == f"content {name}".encode()
    assert table[page]["state"] == "landed"


def test_without_a_sha256_of_the_instance_the_size_is_checked_and_that_is_said(alone: Bench) -> None:
    plain = alone.attach(b"no hash", hash="")
    other = alone.attach(b"an MD5", hash="9e107d9d372bb6826bd81d3542a419d6")
    found = alone.synced()
    for sys_id, content in ((plain, b"no hash"), (other, b"an MD5")):
        row = alone.table()[sys_id]
        assert (row["hash"], row["reason"]) == (
            hashlib.sha256(content).hexdigest(),
            "checked by its size only, not by SHA-256",
        )
    assert found.size_only == 2
    assert alone.synced().fetched == 0


def test_a_release_without_hashes_is_read_all_the_same(alone: Bench) -> None:
    alone.sim.drop_column("sys_attachment", "hash")
    found = alone.synced()
    assert found.landed == found.size_only == len(alone.of_incidents())


def test_attachments_of_every_class_of_the_table_and_of_the_current_rows_of_a_delta_pull(tmp_path: Path) -> None:
    with Simulator(rows=ROWS, seed=3).serve() as server:
        tasks = Bench(server, tmp_path, table="task", mode="delta", fields=("sys_id", "number"))
        tasks.publish(tasks.delta())
        tasks.synced()
        assert Counter(row["table_name"] for row in tasks.table().values()).keys() >= {"incident", "change_request"}

        tasks.sim.clock.advance(hours=2)
        owner = next(iter(tasks.table().values()))["table_sys_id"]
        tasks.sim.delete("incident" if tasks.sim.store.find("incident", owner) else "change_request", owner)
        tasks.publish(tasks.delta())
        tasks.synced()
        assert {row["state"] for row in tasks.table().values() if row["table_sys_id"] == owner} == {"deleted"}


def test_what_is_asked_for_is_refused_where_it_cannot_be(alone: Bench, tmp_path: Path) -> None:
    unpublished = Bench(alone.server, tmp_path / "other")
    with pytest.raises(ConfigError, match="nothing is published"):
        unpublished.sync()
    assert not unpublished.folder.exists()
    plain = Workbench(alone.server, tmp_path)
    with plain.client() as client, pytest.raises(ConfigError, match="does not ask"):
        sync_attachments(plain.pull, client, alone.landing)
    alone.synced()
    (alone.folder / "attachments.parquet").write_bytes(b"nonsense")
    with pytest.raises(LandingError, match="is damaged"):
        read_attachments(alone.landing)
