"""``snow-assets documents``: what it prints, what an index does with it, and how it ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snow_assets.simulator import Simulator, SimulatorServer
from snow_assets_tests.cli.conftest import Done, Folder, variables_of
from snow_assets_tests.pulls.conftest import Workbench

ROWS = 25
PULLS = """\
defaults: {retry_backoff: 0.01, max_retries: 0}
pulls:
  incidents: {table: incident, fields: [number, short_description, state], documents: true}
"""


@pytest.fixture
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=3).serve() as one:
        yield one


@pytest.fixture
def here(server: SimulatorServer, tmp_path: Path) -> Folder:
    made = Folder(tmp_path, variables_of(server))
    made.write(PULLS)
    return made


def publish(here: Folder, server: SimulatorServer) -> None:
    Workbench(server, here.path / "data", fields=["number", "short_description", "state"]).pull_all()


def lines(done: Done) -> list[dict[str, str]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_an_index_is_kept_up_by_what_the_command_prints(here: Folder, server: SimulatorServer) -> None:
    publish(here, server)
    first = here.call("documents", "incidents", "--json").json
    assert (first["rows"], first["added"], first["written"], first["previous"]) == (ROWS, ROWS, True, None)
    told = here.call("documents", "incidents").out.splitlines()
    assert told[:2] == [
        f"{ROWS} documents, export {first['export']}",
        f"{ROWS} added, 0 changed, 0 deleted, 0 unchanged",
    ]
    assert told[2:] == [file["location"] for file in first["files"]]

    ids = [row["sys_id"] for row in server.sim.rows("incident")]
    server.sim.update("incident", ids[0], short_description="told anew")
    server.sim.delete("incident", ids[1])
    new = server.sim.insert("incident", short_description="new")
    publish(here, server)
    second = here.call("documents", "incidents").out.splitlines()
    assert second[1] == f"1 added, 1 changed, 1 deleted, {ROWS - 2} unchanged since {first['export']}"
    done = here.run("documents", "incidents", "--changes-since", first["export"])  # a process, as a cron job has it
    found = {line["id"].partition("/")[2]: line for line in lines(done)}
    assert {id_: line["change"] for id_, line in found.items()} == {
        ids[0]: "changed",
        ids[1]: "deleted",
        new: "added",
    }
    assert "told anew" in found[ids[0]]["page_content"]
    assert sorted(found[ids[1]]) == ["change", "content_hash", "id", "previous_hash"]
    export = second[0].rpartition(" ")[2]
    assert done.err == f"the index is then as export {export}\n"
    assert lines(here.call("documents", "incidents", "--changes-since", export)) == []


def test_another_template_changes_every_document(here: Folder, server: SimulatorServer) -> None:
    publish(here, server)
    first = here.call("documents", "incidents", "--json").json
    here.write(PULLS.replace("documents: true", 'documents: {content_template: "{{ number }}: {{ state }}"}'))
    second = here.call("documents", "incidents", "--json").json
    assert [second[name] for name in ("changed", "unchanged", "new_recipe")] == [ROWS, 0, True]
    assert second["plan"] == first["plan"]
    changed = lines(here.call("documents", "incidents", "--changes-since", first["export"]))
    assert len(changed) == ROWS
    assert all(line["page_content"].startswith("INC") for line in changed)


def test_a_pull_that_nobody_declares_has_documents_by_the_recipe_of_its_table(
    here: Folder, server: SimulatorServer
) -> None:
    publish(here, server)
    (here.path / "pulls.yaml").unlink()
    assert here.call("documents", "incidents", "--json").json["table"] == "incident"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "no such pull"),
        (("incidents",), "nothing is published"),
        (("incidents", "--changes-since", "x"), "no documents were exported"),
        (("incidents", "--changes-since", "x", "--again"), "leave one of them out"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_made(here: Folder, arguments: tuple[str, ...], said: str) -> None:
    done = here.call("documents", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert [path.name for path in here.path.iterdir()] == ["pulls.yaml"]


def test_an_export_that_is_not_known_any_more_is_told_with_the_way_out(here: Folder, server: SimulatorServer) -> None:
    publish(here, server)
    export = here.call("documents", "incidents", "--json").json["export"]
    shutil.rmtree(here.path / "data" / "incidents.documents")
    publish(here, server)
    here.call("documents", "incidents")
    done = here.call("documents", "incidents", "--changes-since", export)
    assert (done.code, done.out) == (2, "")
    assert "index every document anew, then ask for what changed since" in done.err


def test_journals_that_are_not_published_yet_are_named(here: Folder, server: SimulatorServer) -> None:
    publish(here, server)
    journals = "  journals: {table: sys_journal_field}\n"
    here.write(PULLS.replace("documents: true", "documents: {include_journals: journals}") + journals)
    done = here.call("documents", "incidents")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: pull 'journals': nothing is published (run: snow-assets pull journals)\n"
    assert not (here.path / "data" / "incidents.documents").exists()
