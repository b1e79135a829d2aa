"""Texts as values of the types: held against a model in plain Python, whatever the text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from snow_assets_tests.imports.mapping_bench import declared, mapped

BLANKS = " \t\r\n\f"
DAY = r"\d{4}-\d{2}-\d{2}"


def integer(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+(\.0*)?", text):
        return None
    value = int(text.partition(".")[0])
    return value if -(2**63) <= value < 2**63 else None


def decimal(text: str) -> Decimal | None:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text):
        return None
    value = Decimal(text)
    whole, _, fraction = text.lstrip("+-").partition(".")
    return value if len(fraction.rstrip("0")) <= 9 and len(whole.lstrip("0")) <= 29 else None


def number(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(lower(text))


def lower(text: str) -> str:
    """As SQL does it: a letter at a time."""
    return "".join(each if len(each.lower()) > 1 else each.lower() for each in text)


def day(text: str) -> date | None:
    if not re.fullmatch(rf"{DAY}([ T]00:00(:00(\.0+)?)?)?", text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def moment(text: str) -> datetime | None:
    shape = rf"{DAY}([ T]([01]\d|2[0-3]):\d{{2}}(:\d{{2}}(\.\d{{1,9}})?)?(Z|[+-]\d{{2}}(:?\d{{2}})?)?)?"
    if not re.fullmatch(shape, text, re.ASCII):
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None


MODEL: dict[str, Callable[[str], object]] = {
    "string": lambda text: text,
    "integer": integer,
    "decimal": decimal,
    "float": number,
    "boolean": boolean,
    "date": day,
    "datetime": moment,
}
ALPHABETS = [
    "0123456789.+-eE_ ",
    "0123456789-: TZ+.",
    "truefalsnoy01 TRUE",
]
DATES = st.dates().map(str) | st.datetimes().map(str) | st.datetimes(timezones=st.just(UTC)).map(str)
NUMBERS = st.integers(-(2**65), 2**65).map(str) | st.floats().map(str) | st.decimals(allow_nan=False).map(str)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    *(st.text(alphabet, max_size=24) for alphabet in ALPHABETS),
    st.tuples(st.sampled_from(["", " ", "\t"]), DATES | NUMBERS, st.sampled_from(["", " ", "\n"])).map("".join),
)
EDGES = [
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1_000",
    "0x10",
    "1e3",
    "1.5",
    "3.000",
    "5.",
    ".5",
    "nan",
    "inf",
    "-Infinity",
    "1e309",
    "12345678901234567890123456789.123456789",
    "123456789012345678901234567890",
    "0.1234567890",
    "0.1234567891",
    "TRUE",
    " yes ",
    "on",
    "2026-02-29",
    "2024-02-29",
    "2026-1-2",
    "2026/01/02",
    "0000-01-01",
    "9999-12-31T23:59:59.999999",
    "2026-01-02 24:00:00",
    "2026-01-02T10:00:60",
    "2026-01-02 10:00:00.1234567",
    "2026-01-02 10:00+0530",
    "2026-01-02T10:00:00-08",
    "0001-01-01 00:00+14:00",
    "9999-12-31 23:00-14:00",
    "epoch",
    "٣",
    "２０２６",
]


def checked(tmp_path: Path, texts: list[str | None]) -> None:
    """Map the texts as every type, and compare with the model."""
    fields = {kind: {"source": "text", "type": kind} for kind in MODEL}
    for text, row in zip(texts, mapped(tmp_path, {"text": texts}, declared({"fields": fields})), strict=True):
        wanted = {kind: model(bare(text, kind)) if text else None for kind, model in MODEL.items()}
        assert {kind: row[kind] for kind in MODEL} == wanted, text
        typed = [kind for kind in MODEL if kind != "string"]
        assert row["sys_import_cleared"] == (typed if text == "NULL" else None)
        wrong = [kind for kind in typed if text and text != "NULL" and wanted[kind] is None]
        assert (row["sys_import_state"], row["sys_row_error"]) == (("error", 400) if wrong else (None, None)), text
        comment = row["sys_import_state_comment"] or ""
        assert [kind for kind in typed if f"{kind} from text: '{(text or '')[:80]}" in comment] == wrong


def bare(text: str, kind: str) -> str:
    return text if kind == "string" else text.strip(BLANKS)


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_texts_at_the_edges_are_values_or_errors_as_the_model_says(tmp_path: Path, blank: str) -> None:
    checked(tmp_path, [f"{blank}{text}{blank}" for text in EDGES])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.none() | TEXTS, min_size=1, max_size=60))
@example(texts=[None, "", " ", "NULL"])
def test_any_text_is_a_value_or_an_error_as_the_model_says(tmp_path: Path, texts: list[str | None]) -> None:
    checked(tmp_path, texts)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.none() | TEXTS, min_size=1, max_size=60))
def test_without_a_transform_any_text_stays_as_it_is(tmp_path: Path, texts: list[str | None]) -> None:
    rows = mapped(tmp_path, {"text": texts}, declared())
    assert [row["text"] for row in rows] == [text or None for text in texts]
    assert {row["sys_import_state"] for row in rows} == {None}
