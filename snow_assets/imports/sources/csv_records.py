"""Where the records of a CSV text begin and end: RFC 4180, with line breaks inside quotes, read in pieces.

A quote may stand around a whole value, and doubled within one; anywhere else it is broken. A piece whose quotes are
all in their places (nearly every one) is cut up by a few passes in C. In another one each record is looked at: a broken
one is given up with its first line, and reading goes on in the next line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.imports.sources.rejects import SHOWN, Bad

MAX_RECORD: Final = 16 << 20  # bytes; a quote that is not closed within them is broken
UNCLOSED: Final = "a quote is opened that is never closed"
MISPLACED: Final = "a quote stands inside a value, or something after the quote that closes one"
TOO_LONG: Final = f"is longer than {MAX_RECORD >> 20} MiB"
UNDECODABLE: Final = "holds bytes that are not of the encoding"
_BREAK: Final = re.compile(rb"\r\n?|\n")
_LONE: Final = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True)
class Records:
    """Whole records, one after the other in ``data``: the line of each that is not empty, in order."""

    data: bytes
    lines: pa.Array
    ends: pa.Array  # just behind each
    bad: list[Bad] = field(default_factory=list)

    def text(self, number: int) -> bytes:
        """The beginning of the record ``number``, from 0."""
        start = self.ends[number - 1].as_py() if number else 0
        end = min(self.ends[number].as_py(), start + 4 * SHOWN)
        return self.data[start:end].strip(b"\r\n")


@dataclass(frozen=True)
class Dialect:
    """What parts values and what stands around them, a byte each."""

    delimiter: bytes
    quote: bytes

    @cached_property
    def placed(self) -> re.Pattern[bytes]:
        """As far as quotes are in their places."""
        return self._placed(b"[^Q]")

    @cached_property
    def within_lines(self) -> re.Pattern[bytes]:
        """As far as they are, and no line breaks are between them."""
        return self._placed(rb"[^Q\r\n]")

    def _placed(self, quoted: bytes) -> re.Pattern[bytes]:
        edge = rb"[^%s\r\n]" % re.escape(self.delimiter)
        text = rb"(?:[^Q]*+(?:(?<!EDGE)QTEXT*+(?:QQTEXT*+)*+Q(?!EDGE))?+)*+"
        return re.compile(text.replace(b"EDGE", edge).replace(b"TEXT", quoted).replace(b"Q", re.escape(self.quote)))

    @cached_property
    def record(self) -> re.Pattern[bytes]:
        """A record with its line break."""
        return re.compile(self._values + rb"(?:\r\n?|\n)")

    @cached_property
    def open(self) -> re.Pattern[bytes]:
        """The beginning of a record whose last value is quoted, and goes on."""
        begun = rb"(?:VALUED)*+Q[^Q]*+(?:QQ[^Q]*+)*+\Z"
        return re.compile(self._written(begun))

    @cached_property
    def begun(self) -> re.Pattern[bytes]:
        """The beginning of a record whose values so far are whole."""
        return re.compile(self._values + rb"\Z")

    @property
    def _values(self) -> bytes:
        return self._written(rb"VALUE(?:DVALUE)*+")

    def _written(self, pattern: bytes) -> bytes:
        value = rb"(?:Q[^Q]*+(?:QQ[^Q]*+)*+Q|[^QD\r\n]*+)"
        delimiter, quote = re.escape(self.delimiter), re.escape(self.quote)
        return pattern.replace(b"VALUE", value).replace(b"Q", quote).replace(b"D", delimiter)


def records(chunks: Iterator[bytes], dialect: Dialect) -> Iterator[Records]:
    """The text cut into whole records. Memory: a few times a chunk, or the longest record."""
    line, rest, lost = 1, b"", False
    for chunk, last in _with_last(chunks):
        rest += chunk
        if last and rest and not rest.endswith((b"\n", b"\r")):
            rest += b"\n"
        if not last and rest.endswith(b"\r"):
            continue  # what follows may belong to this line break
        if lost:
            behind = _BREAK.search(rest)
            rest, line, lost = (rest[behind.end() :], line + 1, False) if behind else (b"", line, True)
        found, used, lines = _cut(rest, dialect, line, last=last)
        if used:
            yield found
            lost = not rest.endswith((b"\n", b"\r"), 0, used)  # given up within its line: the rest of that goes, too
            rest, line = rest[used:], line + lines


def _with_last(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    held = next(chunks, b"")
    for chunk in chunks:
        yield held, False
        held = chunk
    yield held, True


def _cut(data: bytes, dialect: Dialect, line: int, *, last: bool) -> tuple[Records, int, int]:
    """The records at the beginning of ``data``, the bytes that they take, and the line breaks in these."""
    breaks = _breaks(data)
    plain = bool(len(breaks)) and _reaches(dialect.within_lines, data, breaks[-1].as_py() + 1)
    outside = _all(breaks) if plain else _outside(data, dialect, breaks)
    last_breaks = breaks.take(outside)
    used = last_breaks[-1].as_py() + 1 if len(outside) else 0
    placed = plain or _reaches(dialect.placed, data, used)
    if not placed or (last and used < len(data)) or (not used and len(data) > MAX_RECORD):
        return _one_by_one(data, dialect, line, last=last)
    if not used:
        return of_parts([], [], []), 0, 0
    ends = pc.add(pc.cast(last_breaks, pa.int64()), 1)
    starts = pa.concat_arrays([pa.array([0], pa.int64()), ends[:-1]])
    behind = pc.add(pc.cast(outside, pa.int64()), line + 1)
    lines = pa.concat_arrays([pa.array([line], pa.int64()), behind[:-1]])
    full = _is_text(data, starts)
    return Records(data[:used], lines.filter(full), ends.filter(full)), used, outside[-1].as_py() + 1


def _bytes(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])


def _reaches(pattern: re.Pattern[bytes], data: bytes, end: int) -> bool:
    found = pattern.match(data, 0, end)
    return found is not None and found.end() == end


def _is(data: pa.Array, byte: bytes) -> pa.Array:
    return pc.equal(data, pa.scalar(byte[0], pa.uint8()))


def _is_text(data: bytes, starts: pa.Array) -> pa.Array:
    """Whether what is at these places is no line break."""
    found = _bytes(data).take(starts)
    return pc.invert(pc.or_(_is(found, b"\r"), _is(found, b"\n")))


def _breaks(data: bytes) -> pa.Array:
    """Where lines end: at LF, or at a CR that no LF follows."""
    found = _bytes(data)
    ends = _is(found, b"\n")
    if _LONE.search(data):
        followed = pa.concat_arrays([ends[1:], pa.array([False])])
        ends = pc.or_(ends, pc.and_not(_is(found, b"\r"), followed))
    return pc.indices_nonzero(ends)


def _outside(data: bytes, dialect: Dialect, breaks: pa.Array) -> pa.Array:
    """Which of the breaks are outside of quotes, if all quotes are in their places: those behind pairs of them."""
    quotes = pc.cumulative_sum(pc.cast(_is(_bytes(data), dialect.quote), pa.int8()))  # wraps: only the last bit counts
    odd = pc.bit_wise_and(quotes.take(breaks), pa.scalar(1, pa.int8()))
    return pc.indices_nonzero(pc.equal(odd, pa.scalar(0, pa.int8())))


def _all(breaks: pa.Array) -> pa.Array:
    return pc.indices_nonzero(pa.repeat(pa.scalar(True), len(breaks)))


def _one_by_one(data: bytes, dialect: Dialect, line: int, *, last: bool) -> tuple[Records, int, int]:
    """As ``_cut``, but broken records are given up, each with its first line."""
    first, at = line, 0
    good: list[bytes] = []
    lines: list[int] = []
    bad: list[Bad] = []
    while at < len(data):
        end, message = _next(data, dialect, at, last=last)
        if end == at:
            break
        text = data[at:end]
        if message:
            bad.append(Bad(line, message, text[: 4 * SHOWN].rstrip(b"\r\n")))
        elif text.rstrip(b"\r\n"):
            good.append(text)
            lines.append(line)
        line += len(_BREAK.findall(text))
        at = end
    return of_parts(good, lines, bad), at, line - first


def of_parts(good: list[bytes], lines: list[int], bad: list[Bad]) -> Records:
    """Records that are already apart."""
    ends = pc.cumulative_sum(pa.array([len(text) for text in good], pa.int64()))
    return Records(b"".join(good), pa.array(lines, pa.int64()), ends, bad)


def _next(data: bytes, dialect: Dialect, at: int, *, last: bool) -> tuple[int, str]:
    """Where the record at ``at`` ends, and what is wrong with it; ``at`` where more must be read to know."""
    found = dialect.record.match(data, at)
    if found:
        return found.end(), ""
    unclosed = dialect.open.match(data, at)
    line = _BREAK.search(data, at)
    if not last and len(data) - at <= MAX_RECORD and (unclosed or not line or dialect.begun.match(data, at)):
        return at, ""
    if line is None:
        return len(data), UNCLOSED if unclosed else TOO_LONG
    return line.end(), UNCLOSED if unclosed else MISPLACED
