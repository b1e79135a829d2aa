"""An index that is kept up by changes alone is right, whatever became of documents and of the one who keeps it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.documents.changes import SCHEMA, Change, added_up, compare

State = Mapping[str, str]
STATES = st.lists(st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2"])), min_size=2, max_size=6)
"""Contents by id, export by export: few of both, so that much is there and back."""


def told(states: Sequence[State], since: int, now: int) -> Iterator[Change]:
    """The changes from one export to a later one, as files of each keep them."""
    pairs = zip(states[since:now], states[since + 1 : now + 1], strict=True)
    steps = (compare(sorted(before.items()), sorted(after.items())) for before, after in pairs)
    return added_up(pa.Table.from_pylist([asdict(each) for each in step], schema=SCHEMA).to_batches() for step in steps)


@given(STATES, st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=6, max_size=6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_an_index_that_skips_and_dies_is_right_after_each_catching_up(
    states: list[State], visits: list[tuple[bool, int]]
) -> None:
    index, held = dict(states[0]), 0
    for now, (skips, dies_after) in enumerate(visits[: len(states) - 1], start=1):
        if skips:
            continue
        changes = list(told(states, held, now))
        for change in changes[: dies_after or None]:
            if change.content_hash is None:
                index.pop(change.id, None)
            else:
                index[change.id] = change.content_hash
        if dies_after == 0 or dies_after >= len(changes):
            held = now
            assert index == states[now]


@given(STATES)
@settings(max_examples=10, deadline=None, derandomize=True)
def test_nothing_is_told_of_a_document_that_never_differed(states: list[State]) -> None:
    changes = {change.id: change for change in told(states, 0, len(states) - 1)}
    for id_ in "abcd":
        contents = {state.get(id_) for state in states}
        assert (id_ in changes) == (len(contents) > 1)
        if id_ in changes:
            assert (changes[id_].previous_hash, changes[id_].content_hash) == (states[0].get(id_), states[-1].get(id_))
