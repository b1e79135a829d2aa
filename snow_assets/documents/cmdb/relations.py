"""What a graph of configuration items gives: relations, steps, figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

SEPARATOR: Final = "::"


def descriptors(label: str) -> tuple[str, str]:
    """``Depends on::Used by`` as what the parent does and what the child does; a label of one part stands for both."""
    parent, found, child = label.partition(SEPARATOR)
    return (parent.strip(), child.strip()) if found else (label.strip(), label.strip())


@dataclass(frozen=True, slots=True)
class RelationType:
    """A type of relations: its sys_id, and its name, such as ``Depends on::Used by``; ``""`` where hidden."""

    sys_id: str
    label: str

    @property
    def parent_descriptor(self) -> str:
        """What the parent does: ``Depends on``."""
        return descriptors(self.label)[0]

    @property
    def child_descriptor(self) -> str:
        """What the child does: ``Used by``."""
        return descriptors(self.label)[1]

    def __str__(self) -> str:
        return self.label or self.sys_id or "(no type)"


@dataclass(frozen=True, slots=True)
class Relation:
    """A row of ``cmdb_rel_ci``. ``parent`` and ``child`` are sys_ids; a name is ``""`` where none is shown."""

    sys_id: str
    parent: str
    parent_name: str
    child: str
    child_name: str
    type: RelationType

    @property
    def label(self) -> str:
        """The type's name: ``Depends on::Used by``."""
        return self.type.label

    @property
    def parent_descriptor(self) -> str:
        """What the parent does: ``Depends on``."""
        return self.type.parent_descriptor

    @property
    def child_descriptor(self) -> str:
        """What the child does: ``Used by``."""
        return self.type.child_descriptor

    def __str__(self) -> str:
        return f"{self.parent_name or self.parent} {self.type} {self.child_name or self.child}"


@dataclass(frozen=True, slots=True)
class RelationsOf:
    """The relations of one CI: ``outbound``, of which it is the parent, and ``inbound``, of which it is the child."""

    outbound: tuple[Relation, ...] = ()
    inbound: tuple[Relation, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.outbound or self.inbound)

    def __len__(self) -> int:
        return len(self.outbound) + len(self.inbound)


@dataclass(frozen=True, slots=True)
class Step:
    """A CI that a traversal came to: ``depth`` relations from its start, by ``via`` from the CI ``parent``."""

    sys_id: str
    name: str
    depth: int
    via: Relation
    parent: str

    @property
    def outbound(self) -> bool:
        """Whether it was come to from the parent's end of the relation."""
        return self.via.child == self.sys_id and self.via.parent == self.parent

    @property
    def descriptor(self) -> str:
        """How the CI before it is related to this one: ``Depends on``, or ``Used by`` where the way leads up."""
        return self.via.parent_descriptor if self.outbound else self.via.child_descriptor


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """What a graph holds. ``relations`` are rows; those that lack an end are not among its edges.

    ``edges + without_parent + without_child - without_ends == relations``, where ``without_ends`` lack both.
    ``duplicates``: edges whose ends and type another edge has; ``loops``: edges from a CI to itself.
    """

    relations: int
    nodes: int
    edges: int
    types: int
    duplicates: int
    loops: int
    without_parent: int
    without_child: int
    without_ends: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)
