"""What a graph of a large CMDB costs: bytes per relation, seconds to build, walk, write and read, peak memory.

    python bench/graph.py [--relations 1000000] [--cis 250000]

Makes up records of ``cmdb_rel_ci`` as a client gives them, a few at a time, and builds the graph of them. An eighth of
the relations begin at one of a hundred CIs. Peak memory is the operating system's figure of the whole process.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from snow_assets.documents.cmdb import RelationGraph

LABELS = ("Depends on::Used by", "Runs on::Runs", "Hosted on::Hosts", "Contains::Contained by", "Members::Member of")
HUBS, ASKED = 100, 2_000
T = TypeVar("T")


def sys_id(kind: str, number: int) -> str:
    """A made up sys_id, always the same."""
    return hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest()


def records(relations: int, cis: int) -> Iterator[dict[str, Any]]:
    """Relations as the Table API gives them with ``display_value=all``."""
    dice = random.Random(1)
    for number in range(relations):
        parent = dice.randrange(HUBS if number % 8 == 0 else cis)
        type_ = dice.randrange(len(LABELS))
        own = sys_id("relation", number)
        yield {
            "sys_id": {"display_value": own, "value": own},
            "parent": ci(parent),
            "child": ci(dice.randrange(cis)),
            "type": {"display_value": LABELS[type_], "value": sys_id("type", type_)},
        }


def ci(number: int) -> dict[str, str]:
    """A reference to a CI."""
    return {"display_value": f"server{number:07}.example.com", "value": sys_id("ci", number)}


def timed(what: str, work: Callable[[], T]) -> T:
    """Print how long it took."""
    began = time.process_time()
    made = work()
    print(f"{what:<44}{time.process_time() - began:8.2f} CPU-s")
    return made


def peak() -> float:
    """The most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * (1024 if sys.platform == "darwin" else 1))


def walk(graph: RelationGraph, starts: list[str], **options: Any) -> int:
    """The steps of all."""
    return sum(1 for start in starts for _ in graph.traverse(start, **options))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relations", type=int, default=1_000_000)
    parser.add_argument("--cis", type=int, default=250_000)
    given = parser.parse_args()
    before = peak()
    timed("records made up, not kept", lambda: sum(1 for _ in records(given.relations, given.cis)))
    graph = timed(
        "the same, and the graph built of them", lambda: RelationGraph.from_records(records(given.relations, given.cis))
    )
    per = graph.nbytes / graph.figures.relations
    print(f"{graph!r}: {graph.nbytes / 2**20:.0f} MiB, {per:.0f} bytes per relation")
    print(f"peak memory {peak():.0f} MiB, of which {before:.0f} MiB were the program")
    starts = [sys_id("ci", number) for number in range(ASKED)]
    timed(f"relations_of {ASKED:,} CIs", lambda: [graph.relations_of(each) for each in starts])
    for depth in (1, 3):
        steps = timed(f"{ASKED:,} walks down, depth {depth}", lambda depth=depth: walk(graph, starts, depth=depth))  # type: ignore[misc]
        print(f"    {steps:,} steps")
    steps = timed("one walk in both directions, no limit", lambda: walk(graph, starts[:1], direction="both"))
    print(f"    {steps:,} steps")
    timed("components and cycles", graph.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edges.parquet"
        timed("written to Parquet", lambda: graph.to_parquet(path))
        print(f"    {path.stat().st_size / graph.figures.relations:.0f} bytes per relation")
        again = timed("read from it", lambda: RelationGraph.from_parquet(path))
    assert again.figures == graph.figures
    print(f"peak memory {peak():.0f} MiB at the end")


if __name__ == "__main__":
    main()
