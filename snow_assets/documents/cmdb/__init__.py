"""The graph of configuration items: read once, walked in memory."""

from __future__ import annotations

from snow_assets.documents.cmdb.graph import RelationGraph
from snow_assets.documents.cmdb.items import CI_FIELDS
from snow_assets.documents.cmdb.relations import GraphFigures, Relation, RelationsOf, RelationType, Step
from snow_assets.documents.cmdb.wording import relation_lines, relation_values

__all__ = [
    "CI_FIELDS",
    "GraphFigures",
    "Relation",
    "RelationGraph",
    "RelationType",
    "RelationsOf",
    "Step",
    "relation_lines",
    "relation_values",
]
