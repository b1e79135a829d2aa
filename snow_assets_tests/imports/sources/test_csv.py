"""CSV files as sources: text exactly as it stands there, bad rows with their line, and nothing swallowed."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snow_assets.errors import ConfigError, SourceError
from snow_assets.imports.sources import csv_records, open_source, rejects, text
from snow_assets_tests.imports.sources.reading import Folder

MISPLACED, UNCLOSED = csv_records.MISPLACED, csv_records.UNCLOSED


def test_values_are_the_text_of_the_file(folder: Folder) -> None:
    found = folder.csv('no,a b,when\n007, 1.50 ,2026-01-01\n,"",NULL\ntrue,"say ""hi""","a,b"\n')
    assert found.columns == ("no", "a b", "when")
    assert found.rows == [("007", " 1.50 ", "2026-01-01"), ("", "", "NULL"), ("true", 'say "hi"', "a,b")]
    assert found.lines == [2, 3, 4]
    assert found.files == ["people.csv"] * 3
    assert {column.type for column in found.table.columns[2:]} == {pa.string()}


def test_line_breaks_inside_quotes_and_empty_lines_count_as_lines(folder: Folder) -> None:
    found = folder.csv('a,b\r\n1,"x\r\ny\nz"\r\n\r\n\r\n2,y\r\n3,"\n"')
    assert found.rows == [("1", "x\r\ny\nz"), ("2", "y"), ("3", "\n")]
    assert found.lines == [2, 7, 8]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_ending_ends_a_line(folder: Folder, end: str, last: bool) -> None:
    found = folder.csv(end.join(["a,b", "1,2", '3,"4"']) + (end if last else ""))
    assert (found.rows, found.lines) == ([("1", "2"), ("3", "4")], [2, 3])


def test_rows_with_too_few_or_too_many_values_are_rejected_by_line(folder: Folder) -> None:
    found = folder.csv('a,b\n1,2\n3\n"x\ny",4\n5,6,7\n\n8,9\n')
    assert (found.rows, found.lines) == ([("1", "2"), ("x\ny", "4"), ("8", "9")], [2, 4, 8])
    assert found.rejected == [(3, "has 1 values, not 2"), (6, "has 3 values, not 2")]
    assert found.texts == ["3", "5,6,7"]


@pytest.mark.parametrize(
    ("data", "rows", "rejected"),
    [
        ('a,b\n1,"x\n2,y\n3,z\n', ["2", "3"], [(2, UNCLOSED)]),
        ('a,b\n1,"x\n2,"y"\n3,z\n', ["2", "3"], [(2, MISPLACED)]),
        ('a,b\n1,x"y\n2,"y"z\n3,z\n', ["3"], [(2, MISPLACED), (3, MISPLACED)]),
        ('a,b\n1,"x\ny"z\n2,q\n', ["2"], [(2, MISPLACED), (3, MISPLACED)]),
        ('a,b\n1,x\n2,"', ["1"], [(3, UNCLOSED)]),
        ('a,b\n1,x\n2," ""x""', ["1"], [(3, UNCLOSED)]),
    ],
)
def test_a_broken_quote_costs_its_line_and_no_other(
    folder: Folder, data: str, rows: list[str], rejected: list[tuple[int, str]]
) -> None:
    found = folder.csv(data)
    assert ([row[0] for row in found.rows], found.rejected) == (rows, rejected)


def test_a_file_that_is_read_in_many_pieces_gives_the_same(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    data = 'a,b\r\n1,"x\r\n"",\r\ny"\r\n\r\n2,"z\r\n3,4,5\r\n6,ä"ö\r\n"7\r\n\r\n","8"\r\n9,10'
    whole = folder.csv(data)
    assert [row[0] for row in whole.rows] == ["1", "7\r\n\r\n", "9"]
    assert [line for line, _ in whole.rejected] == [6, 7, 8]
    for size in range(1, 14):
        monkeypatch.setattr(text.utf8_chunks, "__defaults__", (size,))
        pieces = folder.csv(data)
        assert (pieces.rows, pieces.lines, pieces.rejected) == (whole.rows, whole.lines, whole.rejected), size


def test_a_quote_that_never_closes_is_given_up_within_a_bound(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1_000)
    monkeypatch.setattr(text.utf8_chunks, "__defaults__", (100,))
    rows = "".join(f"{number},x\n" for number in range(2_000))
    found = folder.csv(f'a,b\n{rows}bad,"x\n{rows}')
    assert (len(found.rows), found.rejected) == (4_000, [(2_002, UNCLOSED)])
    assert found.lines == [*range(2, 2_002), *range(2_003, 4_003)]


@pytest.mark.parametrize("long", ["x" * 5_000, '"' + "x" * 5_000 + '"', "x" * 5_000 + '"'])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_no_part_of_a_line_that_is_too_long_is_taken_for_a_row(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, long: str, end: str
) -> None:
    monkeypatch.setattr(csv_records, "MAX_RECORD", 1_000)
    for size in (37, 100, 2_000):
        monkeypatch.setattr(text.utf8_chunks, "__defaults__", (size,))
        found = folder.csv(end.join(["a", "1", long, "2", long]))
        assert (found.rows, found.lines, found.rejected_rows) == ([("1",), ("2",)], [2, 4], 2)
        assert [line for line, _ in found.rejected] == [3, 5]


def test_a_byte_order_mark_inside_a_file_is_text(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text.utf8_chunks, "__defaults__", (8,))
    assert folder.csv("\ufeffa\n\ufeff1\n\ufeff2\n").rows == [("\ufeff1",), ("\ufeff2",)]


@pytest.mark.parametrize("after", [b"b,a\n1,2\n", b"a,b\n1,2\n3,"])
def test_a_file_that_changes_before_its_rows_are_read_is_refused(folder: Folder, after: bytes) -> None:
    folder.write("1.csv", "a,b\n1,2\n")
    folder.write("2.csv", "a,b\n1,2\n")
    opened = open_source(folder.config({"csv": "*.csv"}), folder.environment)
    folder.write("2.csv", after)
    with pytest.raises(SourceError, match=r"'2.csv': was changed while it was read"):
        list(opened.batches())
    opened.close()


def test_brackets_in_the_name_of_the_folder_are_no_pattern(folder: Folder) -> None:
    inner = Folder(folder.path / "in [1]")
    inner.write("a.csv", "a\n1\n")
    assert inner.read({"csv": "*.csv"}).rows == inner.read({"csv": str(inner.path / "a.*")}).rows == [("1",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"])
def test_any_encoding_is_read_and_a_byte_order_mark_is_no_text(folder: Folder, encoding: str) -> None:
    found = folder.csv("größe,b\nä,ÿ\n".encode(encoding), encoding="utf-8" if "sig" in encoding else encoding)
    assert (found.columns, found.rows) == (("größe", "b"), [("ä", "ÿ")])


@pytest.mark.parametrize(
    ("data", "encoding", "told"),
    [
        ("a\nä\n".encode("latin-1"), "utf-8", "people.csv, line 2, byte 2: byte 0xe4 cannot be decoded (perhaps enc"),
        (
            "a\nä\n".encode(),
            "ascii",
            "people.csv, line 2, byte 2: byte 0xc3 cannot be decoded (perhaps encoding: utf-8)",
        ),
        ("a\nä\n".encode("utf-16"), "utf-8", "begins with the byte order mark of utf-16 (write encoding: utf-16)"),
        ("a\nä\n".encode("utf-8-sig"), "cp1252", "begins with the byte order mark of utf-8"),
        (b"a\n", "latin-17", "is no encoding"),
        (b"a\n", "base64", "is no encoding"),
    ],
)
def test_a_wrong_encoding_is_named_with_file_line_and_byte(
    folder: Folder, data: bytes, encoding: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.csv(data, encoding=encoding)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"source.encoding {encoding!r}: ")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "shift_jis"])
def test_lines_that_cannot_be_decoded_far_into_a_file_are_bad_rows(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(text, "CHECKED", 32)
    wrong = {"utf-8": b"\xff", "utf-16-le": b"\x00\xdc", "shift_jis": b"\xfd"}[encoding]
    before, after = ("x,y\n" + "1,ア\n" * 20 + "2,").encode(encoding), "\n3,ア\n".encode(encoding)
    found = folder.csv(before + wrong + after, encoding=encoding)
    assert found.rows == [("1", "ア")] * 20 + [("3", "ア")]
    assert found.rejected == [(22, csv_records.UNDECODABLE)]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "source.csv 'people.csv': is empty"),
        (b"\n\n", "has no header"),
        (b"a,a\n1,2\n", "column 'a': stands twice (people.csv, line 1"),
        (b"a,A\n1,2\n", "column 'A': differs from a by case only"),
        (b"sys_import_row\n1\n", "column 'sys_import_row': is the name of a column that staging adds itself"),
        (b"a,SYS_IMPORT_STATE\n1,2\n", "column 'SYS_IMPORT_STATE': is the name"),
        (b'a,"b\n1,2\n', UNCLOSED),
        ("a,b\n1,2\n".encode("utf-16-le"), "its header has NUL characters"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(folder: Folder, data: bytes, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.csv(data)
    assert told in str(caught.value)


@pytest.mark.parametrize("data", ["a,b", "a,b\n", "\n\na,b\r\n\r\n"])
def test_a_header_alone_is_no_rows_and_its_columns(folder: Folder, data: str) -> None:
    found = folder.csv(data)
    assert (found.columns, found.rows, found.rejected_rows) == (("a", "b"), [], 0)


def test_a_column_without_a_name_is_called_by_its_place(folder: Folder) -> None:
    assert folder.csv("a,,c,\n1,2,3,4\n").columns == ("a", "column_2", "c", "column_4")


@pytest.mark.parametrize("bad", ["1\n", '"x\n', "1,2,3\n"])
def test_a_file_of_bad_rows_alone_is_no_rows(folder: Folder, bad: str) -> None:
    found = folder.csv("a,b\n" + bad * 3)
    assert (found.columns, found.rows, [line for line, _ in found.rejected]) == (("a", "b"), [], [2, 3, 4])


def test_nul_characters_are_characters(folder: Folder) -> None:
    assert folder.csv(b"a,b\n1\0,\0\n").rows == [("1\0", "\0")]


def test_other_delimiters_and_quotes(folder: Folder) -> None:
    found = folder.csv("a;b\n'x;y';\"z\"\n'it''s';\n", delimiter=";", quote="'")
    assert found.rows == [("x;y", '"z"'), ("it's", "")]


@pytest.mark.parametrize(("key", "value"), [("delimiter", "§"), ("quote", "\n"), ("delimiter", '"')])
def test_delimiters_that_cannot_be_are_refused(folder: Folder, key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"source.{key}"):
        folder.csv("a\n1\n", **{key: value})


def test_files_are_read_by_name_and_columns_go_by_theirs(folder: Folder) -> None:
    folder.write("in/b.csv", "b,a\n3,4\n")
    folder.write("in/a.csv", "a,b\n1,2\n")
    found = folder.read({"csv": "in/*.csv"})
    assert (found.rows, found.files) == ([("1", "2"), ("4", "3")], ["in/a.csv", "in/b.csv"])


def test_files_with_other_columns_are_refused(folder: Folder) -> None:
    folder.write("a.csv", "a,b\n1,2\n")
    folder.write("b.csv", "a,B1\n1,2\n")
    with pytest.raises(ConfigError) as caught:
        folder.read({"csv": "*.csv"})
    assert str(caught.value).startswith("column 'b': is not in b.csv, but in a.csv")


def test_no_file_and_no_readable_one_are_refused(folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"source.csv 'none/\*.csv': no file is there"):
        folder.read({"csv": "none/*.csv"})


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ({"transform": {"name": "Nmae"}}, "transform.name 'Nmae': people.csv has no such column (did you mean 'Name'?"),
        ({"partition": {"key": "dept"}}, "partition.key 'dept': people.csv has no such column (the columns are: Name"),
        ({"coalesce": "name"}, "coalesce 'name': people.csv has no such column (did you mean 'Name'?"),
    ],
)
def test_a_column_that_is_needed_and_missing_is_named(folder: Folder, others: dict[str, object], told: str) -> None:
    folder.write("people.csv", "Name,age\nx,1\n")
    with pytest.raises(ConfigError) as caught:
        open_source(folder.config({"csv": "people.csv"}, **others), folder.environment)
    assert told in str(caught.value)


def test_bad_rows_fail_the_load_where_that_is_said(folder: Folder) -> None:
    with pytest.raises(SourceError) as caught:
        folder.csv("a,b\n1,2\n3\n", bad_rows="fail")
    assert str(caught.value).startswith("source.bad_rows 'fail': has 1 values, not 2 (people.csv, line 3; ")


def test_bad_rows_are_counted_all_and_kept_some(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "KEPT", 10)
    found = folder.csv("a,b\n" + "x\n" * 25 + "1,2\n")
    assert (found.rejected_rows, len(found.rejected)) == (25, 11)
    assert found.rejected[-1] == (None, "and 15 more bad rows")


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\r\n" \0'), max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    width = draw(st.integers(1, 4))
    return draw(st.lists(st.lists(TEXT, min_size=width, max_size=width), max_size=6))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=tables(),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    size=st.integers(1, 40),
)
def test_what_csv_writers_write_is_read_back_exactly(
    folder: Folder, table: list[list[str]], quoting: Literal[0, 1, 2], size: int
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, quoting=quoting)
    header = [f"c{place}" for place in range(len(table[0]) if table else 1)]
    writer.writerow(header)
    lines = []
    for row in table:
        lines.append(len(written.getvalue().replace("\r\n", "\n").replace("\r", "\n").split("\n")))
        writer.writerow(row)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text.utf8_chunks, "__defaults__", (size,))
        found = folder.csv(written.getvalue())
    assert (found.rows, found.lines, found.rejected_rows) == ([tuple(row) for row in table], lines, 0)


def big_file(path: Path, megabytes: int) -> int:
    """A file of about that size with one bad row in its middle; returns how many good ones."""
    block = b"".join(b'%08d,Person %d,p%d@example.com,"Berlin, Mitte",plain note\n' % (n, n, n) for n in range(17_000))
    blocks = megabytes
    with path.open("wb") as file:
        file.write(b"number,name,email,city,note\n")
        for number in range(blocks):
            if number == blocks // 2:
                file.write(b'99,"Person,x@example.com,Berlin,\n')
            file.write(block)
    return 17_000 * blocks


@pytest.mark.parametrize("megabytes", [2, pytest.param(1_000, marks=pytest.mark.slow)])
def test_one_bad_row_of_a_large_file_is_named_and_memory_stays_flat(folder: Folder, megabytes: int) -> None:
    rows = big_file(folder.path / "big.csv", megabytes)
    before = pa.total_allocated_bytes()
    source = open_source(folder.config({"csv": "big.csv"}), folder.environment)
    tracemalloc.start()
    found = most = 0
    for batch in source.batches():
        found += batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found, source.rejected_rows) == (rows, 1)
    assert source.rejected()["sys_import_line"].to_pylist() == [2 + 17_000 * (megabytes // 2)]
    assert most < 128 << 20
    assert peak < 128 << 20
