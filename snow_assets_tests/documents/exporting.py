"""Exports of plain documents: made of the published rows by a recipe that has nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snow_assets.documents import Document
from snow_assets.documents.export import Export, Source, export_documents
from snow_assets.documents.exported import documents_changes
from snow_assets.reader import dataset_of, records_of
from snow_assets_tests.pulls.conftest import Workbench
from snow_assets_tests.pulls.sweeping import Deltas


@dataclass
class Making:
    """The documents of a pull, as they are made now."""

    bench: Workbench
    template: str = "{number}: {short_description}"
    beside: dict[str, str] = field(default_factory=dict)

    def source(self) -> Source:
        return Source(self.documents, self.template, self.beside)

    def documents(self) -> Iterator[Document]:
        landing = self.bench.landing
        for record in records_of(landing, dataset_of(landing)):
            values = {name: str(cell["value"] or "") for name, cell in record.items()}
            text = self.template.format(**values, **self.beside)
            updated = {"sys_updated_on": "2026-11-20T10:00:00Z"}
            place = {"sys_id": values["sys_id"], "table": "incident", "url": f"https://x/{values['number']}"}
            yield Document(text, {**place, "number": values["number"], **updated})

    def export(self, *, again: bool = False) -> Export:
        return export_documents(self.bench.landing, self.source, again=again)

    def changed(self, since: str | None) -> dict[str, str]:
        """What is to be done since an export: change by sys_id."""
        found = documents_changes(self.bench.pull.name, since, data=str(self.bench.data))
        return {each.id.partition("/")[2]: each.change for each in found}


@dataclass
class Index:
    """What somebody keeps up who reads nothing but the changes."""

    making: Making
    documents: dict[str, Document] = field(default_factory=dict)
    at: str | None = None

    def keep_up(self, until: int | None = None) -> int:
        """Apply the changes; returns how many. It dies after ``until`` of them, where that is given."""
        bench = self.making.bench
        changes = documents_changes(bench.pull.name, self.at, data=str(bench.data))
        seen = 0
        for each in changes:
            if seen == until:
                return seen
            seen += 1
            if each.document is None:
                assert each.change == "deleted"
                self.documents.pop(each.id, None)
            else:
                assert each.content_hash == each.document.content_hash
                self.documents[each.id] = each.document
        self.at = changes.export
        return seen

    def is_right(self) -> bool:
        return self.documents == {each.id: each for each in self.making.documents()}


def edit(deltas: Deltas) -> dict[str, str]:
    """Change one row, delete one and add one at the instance, and pull again: what that means, by sys_id."""
    ids = deltas.ids_of()
    deltas.sim.update("incident", ids[0], short_description=f"told anew, {len(deltas.landing.plan_ids())}")
    deltas.sim.delete("incident", ids[1])
    new = deltas.sim.insert("incident", short_description="new")
    pull_again(deltas)
    return {ids[0]: "changed", ids[1]: "deleted", new: "added"}


def pull_again(deltas: Deltas) -> None:
    if deltas.pull.mode == "delta":
        deltas.publish(deltas.delta())
        deltas.sim.clock.advance(hours=2)
    else:
        deltas.pull_all()


def lines(export: Export, ending: str) -> list[dict[str, Any]]:
    """The lines of a file of an export."""
    [file] = [
        each
        for each in export.files
        if each.name.endswith(f".{ending}") and each.name.count(".") - 1 == ending.count(".")
    ]
    return [json.loads(line) for line in Path(file.location).read_bytes().splitlines()]
