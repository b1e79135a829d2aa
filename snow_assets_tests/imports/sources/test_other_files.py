"""JSON lines, Parquet and Excel as sources."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.errors import ConfigError, SourceError
from snow_assets.imports.sources import jsonl, open_source
from snow_assets_tests.imports.sources.reading import Folder, Read


def json_lines(folder: Folder, *lines: str, **options: Any) -> Read:
    folder.write("people.jsonl", "\n".join(lines))
    return folder.read({"jsonl": "people.jsonl", **options})


def test_json_values_are_text_as_it_is_written(folder: Folder) -> None:
    found = json_lines(
        folder,
        '{"a": "007", "b": 1.50, "c": true, "d": null}',
        "",
        '{"a": "\\u00e4\\n\\"", "b": 12345678901234567890123, "c": [1, {"x": "y"}], "d": {"e": 1.0}}',
    )
    assert found.columns == ("a", "b", "c", "d")
    assert found.rows[0] == ("007", "1.50", "true", None)
    assert found.rows[1] == ('ä\n"', "12345678901234567890123", '[1, {"x": "y"}]', '{"e": 1.0}')
    assert found.lines == [1, 3]


def test_a_key_that_appears_late_is_a_column(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "BATCH", 3)
    found = json_lines(folder, *['{"a": 1}'] * 7, '{"late": "x"}')
    assert found.columns == ("a", "late")
    assert found.rows == [("1", None)] * 7 + [(None, "x")]


def test_json_lines_that_are_no_objects_are_rejected_by_line(folder: Folder) -> None:
    found = json_lines(folder, '{"a": 1}', '{"a": ', "[1]", '{"a": 2}', '{"a": 3}}', "null")
    assert (found.rows, found.lines) == ([("1",), ("2",)], [1, 4])
    assert [line for line, _ in found.rejected] == [2, 3, 5, 6]
    assert all(message.startswith("is no JSON object: ") for _, message in found.rejected)
    assert found.texts == ['{"a": ', "[1]", '{"a": 3}}', "null"]
    with pytest.raises(SourceError, match=r"people.jsonl, line 2"):
        json_lines(folder, '{"a": 1}', '{"a": ', bad_rows="fail")


@pytest.mark.parametrize("data", ["", "\n\n", "[1]"])
def test_json_lines_without_a_record_have_no_columns(folder: Folder, data: str) -> None:
    with pytest.raises(ConfigError, match=r"holds no record"):
        json_lines(folder, data)


def test_records_written_as_json_come_back_as_they_are(folder: Folder) -> None:
    records = [
        {"n": str(number), "text": chr(number) * 3, "more": {"x": [number, None]}} for number in range(1, 0x300, 7)
    ]
    found = json_lines(
        folder, *(json.dumps(record, ensure_ascii=number % 2 == 0) for number, record in enumerate(records))
    )
    assert [{"n": n, "text": text, "more": json.loads(more)} for n, text, more in found.rows] == records


def test_parquet_columns_keep_their_types_and_are_united_by_name(folder: Folder) -> None:
    when = datetime(2026, 11, 21, 2, tzinfo=UTC)
    pq.write_table(pa.table({"n": pa.array([1, 2], pa.int32()), "when": [when, None]}), folder.path / "a.parquet")
    pq.write_table(pa.table({"more": ["x"], "n": pa.array([2**40], pa.int64())}), folder.path / "b.parquet")
    found = folder.read({"parquet": "*.parquet"})
    assert found.columns == ("n", "when", "more")
    assert [column.type for column in found.table.columns[2:]] == [pa.int64(), pa.timestamp("us", "UTC"), pa.string()]
    assert found.rows == [(1, when, None), (2, None, None), (2**40, None, "x")]
    assert (found.files, found.lines) == (["a.parquet", "a.parquet", "b.parquet"], [None] * 3)


def test_a_parquet_file_without_rows_has_its_columns(folder: Folder) -> None:
    pq.write_table(pa.table({"n": pa.array([], pa.decimal128(9, 2))}), folder.path / "a.parquet")
    found = folder.read({"parquet": "a.parquet"})
    assert (found.rows, found.table.schema.field("n").type) == ([], pa.decimal128(9, 2))


def test_parquet_files_that_do_not_go_together_or_are_damaged_are_refused(folder: Folder) -> None:
    pq.write_table(pa.table({"n": [1]}), folder.path / "a.parquet")
    pq.write_table(pa.table({"n": ["x"]}), folder.path / "b.parquet")
    with pytest.raises(ConfigError, match=r"column 'n': is string in b.parquet, and int64 in a file before"):
        folder.read({"parquet": "*.parquet"})
    folder.write("b.parquet", "no Parquet at all")
    with pytest.raises(ConfigError, match=r"source.parquet 'b.parquet': is no whole Parquet file"):
        folder.read({"parquet": "*.parquet"})


def test_damage_inside_a_parquet_file_is_told_by_name(folder: Folder) -> None:
    path = folder.path / "a.parquet"
    pq.write_table(pa.table({"n": ["some text " * 9] * 5_000}), path, compression="zstd", use_dictionary=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(len(whole[60:160])) + whole[160:])
    with pytest.raises(SourceError, match=r"source 'a.parquet': cannot be read: its data are damaged"):
        folder.read({"parquet": "a.parquet"})


def workbook(path: Path, *rows: list[Any], sheet: str = "People") -> None:
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(row)
    book.create_sheet("Other").append(["other"])
    book.save(path)
    book.close()


def test_excel_dates_numbers_and_booleans(folder: Folder) -> None:
    rows = [
        (1, "1"), (2.0, "2"), (0.1 + 0.2, "0.3"), (1234567.891, "1234567.891"), (-0.000001, "-0.000001"),
        (True, "true"), (False, "false"), ("007", "007"), (" x ", " x "), (Decimal("12.50"), "12.5"),
        (date(2026, 11, 21), "2026-11-21"), (datetime(2026, 11, 21, 10, 20, 30), "2026-11-21 10:20:30"),  # noqa: DTZ001
        (datetime(2026, 11, 21), "2026-11-21 00:00:00"), (time(1, 2, 3), "01:02:03"),  # noqa: DTZ001
        (timedelta(hours=30, minutes=5), "30:05:00"), (12345678901234, "12345678901234"),
    ]  # fmt: skip
    workbook(folder.path / "people.xlsx", ["value"], *([value] for value, _ in rows))
    found = folder.read({"excel": "people.xlsx"})
    assert [value for (value,) in found.rows] == [text for _, text in rows]


def test_letters_in_a_format_of_excel_that_are_no_time_make_no_midnight(folder: Folder) -> None:
    formats = {
        "[$-en-US]d/m/yyyy": "2026-11-21",
        "[$-x-sysdate]dddd, mmmm dd": "2026-11-21",
        '[White]d"th" mmm': "2026-11-21",
        r"d\h mmm": "2026-11-21",
        "[$-en-US]d/m/yyyy h:mm": "2026-11-21 00:00:00",
        "[h]:mm": "1112328:00:00",
    }
    book = openpyxl.Workbook()
    book.active.append(["day"])
    for row, shown in enumerate(formats, 2):
        cell = book.active.cell(row, 1, datetime(2026, 11, 21))  # noqa: DTZ001
        cell.number_format = shown
    book.save(folder.path / "people.xlsx")
    book.close()
    found = folder.read({"excel": "people.xlsx"})
    assert dict(zip(formats, (value for (value,) in found.rows), strict=True)) == formats


def test_values_that_no_type_of_all_files_holds_are_told_as_such(folder: Folder) -> None:
    pq.write_table(pa.table({"id": [2**53 + 1]}), folder.path / "1.parquet")
    pq.write_table(pa.table({"id": [1.5]}), folder.path / "2.parquet")
    with pytest.raises(SourceError, match=r"'1.parquet': a value does not fit .* 9007199254740993"):
        folder.read({"parquet": "*.parquet"})


def test_excel_rows_keep_their_number_and_empty_ones_are_passed_over(folder: Folder) -> None:
    workbook(folder.path / "people.xlsx", [], ["a", None, "c"], ["1"], [], [None, "2", "3"], [None, None, ""], [])
    found = folder.read({"excel": "people.xlsx"})
    assert found.columns == ("a", "column_2", "c")
    assert (found.rows, found.lines) == ([("1", None, None), (None, "2", "3")], [3, 5])


def test_excel_errors_and_values_beyond_the_header_are_bad_rows(folder: Folder) -> None:
    workbook(folder.path / "people.xlsx", ["a", "b"], ["1", "#DIV/0!"], ["2", "3", "4"], ["5", "6"])
    found = folder.read({"excel": "people.xlsx"})
    assert found.rows == [("5", "6")]
    assert found.rejected == [(2, "column b holds the error #DIV/0!"), (3, "has 3 values, not 2")]


def test_the_sheet_of_a_workbook_is_chosen_by_name(folder: Folder) -> None:
    workbook(folder.path / "people.xlsx", ["a"])
    assert folder.read({"excel": "people.xlsx", "sheet": "Other"}).columns == ("other",)
    with pytest.raises(ConfigError, match=r"source.sheet 'Othr': people.xlsx has no such sheet .did you mean Other"):
        folder.read({"excel": "people.xlsx", "sheet": "Othr"})


def test_what_is_no_workbook_is_refused(folder: Folder) -> None:
    folder.write("people.xlsx", "a,b\n")
    with pytest.raises(ConfigError, match=r"source.excel 'people.xlsx': is no workbook that can be read"):
        open_source(folder.config({"excel": "people.xlsx"}), folder.environment)
    workbook(folder.path / "people.xlsx")
    with pytest.raises(ConfigError, match=r"source.excel 'people.xlsx': is empty"):
        open_source(folder.config({"excel": "people.xlsx"}), folder.environment)


def test_damage_inside_a_workbook_is_told_by_name(folder: Folder) -> None:
    path = folder.path / "people.xlsx"
    workbook(path, ["a"], *([f"value {number}"] for number in range(9_000)))
    whole = path.read_bytes()
    start = whole.index(b"xl/worksheets/sheet1.xml") + 20_000
    path.write_bytes(whole[:start] + bytes(100) + whole[start + 100 :])
    with pytest.raises(SourceError, match=r"source 'people.xlsx': cannot be read: its data are damaged"):
        folder.read({"excel": "people.xlsx"})
