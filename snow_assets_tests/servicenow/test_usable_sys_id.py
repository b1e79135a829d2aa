"""Whether the rows of a table have a sys_id of their own, told from answers that may be faulty."""

from __future__ import annotations

import json
from typing import Any

import pytest

from snow_assets.servicenow.decoding import StructDecoder, key_id, key_values
from snow_assets.servicenow.exchange import Answer, Send, Tally
from snow_assets.servicenow.honoured import visible_fields
from snow_assets.servicenow.pages import PageFault, can_stand
from snow_assets.servicenow.retry import RetryPolicy

A, B = "a" * 32, "b" * 32


def visible(*answers: list[dict[str, Any]], sys_id: bool = True) -> tuple[tuple[str, ...] | None, int]:
    """What the probes see, and how many there were; the last answer is repeated."""
    procedure = visible_fields("t", (), RetryPolicy(0, 0.0), Tally(), sys_id=sys_id)
    step, asked = next(procedure), 0
    while True:
        assert isinstance(step, Send)
        rows = answers[min(asked, len(answers) - 1)]
        asked += 1
        try:
            step = procedure.send(Answer(200, {}, json.dumps({"result": rows}).encode()))
        except StopIteration as stop:
            return stop.value, asked


@pytest.mark.parametrize(
    "rows",
    [
        [{"x": "1"}, {"x": "2"}],
        [{"x": "1", "sys_id": ""}],
        [{"x": "1", "sys_id": A}, {"x": "2", "sys_id": A}],
        [{"x": "1", "sys_id": "__ENC__YQ"}, {"x": "2", "sys_id": "__ENC__Yg"}],
    ],
    ids=["absent", "empty", "of a joined table", "made up"],
)
def test_rows_without_one_of_their_own(rows: list[dict[str, Any]]) -> None:
    assert visible(rows) == (("x",), 3)  # believed after three answers
    assert visible(rows, sys_id=False) == (("x",), 2)  # which fields there are is believed after two


def test_one_faulty_answer_is_not_believed() -> None:
    good = [{"sys_id": A, "x": "1"}, {"sys_id": B, "x": "2"}]
    assert visible([{"x": "1"}, {"x": "2"}], good) == (("sys_id", "x"), 2)
    assert visible([good[0], good[0]], good) == (("sys_id", "x"), 2)
    assert visible([*good, {"x": "3"}]) == (("sys_id", "x"), 2)


def test_ids_made_of_keys() -> None:
    decoder = StructDecoder(("k1", "k2", "x"), ("k1", "k2"))
    body = b'{"result":[{"k1":"a","k2":"","x":"1"},{"k1":{"display_value":"A","value":"b"},"k2":"\\"c","x":"2"}]}'
    ids = decoder.decode(body).ids
    assert [key_values(row_id, ("k1", "k2")) for row_id in ids] == [["a", ""], ["b", '"c']]
    assert ids == [key_id(["a", ""]), key_id(["b", '"c'])]
    assert StructDecoder(("k",), ("k",)).decode(b'{"result":[{"k":"a"},{"k":""}]}').ids == ["a", ""]


@pytest.mark.parametrize("record", ['{"k1":"a"}', '{"k1":"a","k2":{"display_value":"x"}}'])
def test_a_row_without_a_field_of_its_key_cannot_be_named(record: str) -> None:
    decoder = StructDecoder(("k1", "k2"), ("k1", "k2"))
    with pytest.raises(PageFault, match="k2"):
        decoder.decode(f'{{"result":[{record}]}}'.encode())


@pytest.mark.parametrize(
    ("text", "can"),
    [
        (A, True), ("global", True), ("日本", True), ("a,b@c%d", True), ("", True),
        ("a^b", False), ("javascript:x", False), ("=a", False), (" a", False), ("a\nb", False), ("a\tb", False),
    ],
)  # fmt: skip
def test_what_can_stand_in_a_query(text: str, can: bool) -> None:
    assert can_stand(text) is can
