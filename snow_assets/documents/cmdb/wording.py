"""The relations of a CI as lines to read and as plain JSON, for documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from snow_assets.documents.cmdb.relations import Relation, RelationsOf


def relation_lines(relations: RelationsOf) -> Iterator[str]:
    """A line per kind of relation: ``Depends on: db01, db02``, outbound ones first. Names, or sys_ids where none is.

    Half a type's name says it where it has two: the parent's of an outbound relation, else the child's.
    """
    found: dict[str, dict[str, str]] = {}
    for _, _, descriptor, target, name in _told(relations):
        found.setdefault(descriptor, {})[target] = name or target
    for descriptor, names in found.items():
        yield f"{descriptor}: {', '.join(names.values())}"


def relation_values(relations: RelationsOf) -> list[dict[str, Any]]:
    """A JSON object per relation: the CI at the other end (``target``), and how the document's CI is related to it."""
    return [
        {
            "sys_id": each.sys_id,
            "direction": direction,
            "type": each.label,
            "type_sys_id": each.type.sys_id,
            "descriptor": descriptor,
            "target": name or target,
            "target_sys_id": target,
        }
        for direction, each, descriptor, target, name in _told(relations)
    ]


def _told(relations: RelationsOf) -> Iterator[tuple[str, Relation, str, str, str]]:
    """Direction, relation, descriptor, and sys_id and name of the other end."""
    for each in relations.outbound:
        yield "outbound", each, each.parent_descriptor or "Related to", each.child, each.child_name
    for each in relations.inbound:
        yield "inbound", each, each.child_descriptor or "Related to", each.parent, each.parent_name
