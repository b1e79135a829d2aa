"""Journals and choices are pulls like any other: read whole, or kept up by deltas of what was added."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from snow_assets.pulls import current
from snow_assets.pulls.corpus import export_corpus
from snow_assets_tests.pulls.conftest import Workbench, read_plainly
from snow_assets_tests.pulls.sweeping import Deltas, small_instance

JOURNALS = ("sys_id", "name", "element", "element_id", "value", "sys_created_on", "sys_created_by")
CHOICES = ("sys_id", "name", "element", "value", "label", "language", "sequence", "inactive")


def records(bench: Workbench) -> list[dict[str, Any]]:
    lines = Path(export_corpus(bench.landing).files[1].location).read_bytes().splitlines()
    return [json.loads(line) for line in lines]


def test_choices_come_whole_in_english(tmp_path: Path) -> None:
    with small_instance(20).serve() as server:
        bench = Workbench(server, tmp_path, name="choices", table="sys_choice", fields=CHOICES, display_value="false")
        bench.pull_all()
        plain = read_plainly(server, "sys_choice", CHOICES, "false")
    assert records(bench) == plain
    assert {record["language"] for record in plain} == {"en"}
    of_incidents = [record for record in plain if (record["name"], record["element"]) == ("incident", "state")]
    assert {record["value"]: record["label"] for record in of_incidents}["1"] == "New"


def test_journals_come_whole_and_then_by_what_was_added(tmp_path: Path) -> None:
    with small_instance(60, sys_journal_field=200).serve() as server:
        for name in ("sys_updated_on", "sys_mod_count"):  # entries have neither
            server.sim.drop_column("sys_journal_field", name)
        config = {"name": "journals", "table": "sys_journal_field", "fields": JOURNALS, "display_value": "false"}
        bench = Deltas(server, tmp_path, **config, cursor="sys_created_on", deletes="off", verify_every=1e9)
        base = bench.base()
        assert records(bench) == _sorted(read_plainly(server, "sys_journal_field", JOURNALS, "false"))
        names = Counter(record["name"] for record in records(bench))
        assert names["incident"] > 0
        assert names["task"] > 0  # as old entries have it

        added: set[str] = set()
        incident = server.sim.rows("incident")[0]["sys_id"]
        for text in ("looked at it", "done"):
            entry = {"name": "incident", "element": "work_notes", "element_id": incident, "value": text}
            added.add(server.sim.insert("sys_journal_field", entry))
        delta = bench.delta()
        assert (delta.is_delta, delta.base) == (True, base.plan_id)
        assert added <= bench.ids(delta).keys()
        assert len(bench.ids(delta)) < 20  # these, and what the overlap has of the base
        bench.publish(delta)
        assert records(bench) == _sorted(read_plainly(server, "sys_journal_field", JOURNALS, "false"))
        now = current(bench.landing)
        assert now is not None
        assert (now.rows, now.deleted, now.left) == (len(server.sim.rows("sys_journal_field")), 0, 0)


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda record: str(record["sys_id"]))
