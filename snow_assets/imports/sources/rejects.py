"""What could not be read of a source: the number exactly, the first of them in detail."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, NamedTuple

import pyarrow as pa

from snow_assets.errors import SourceError
from snow_assets.imports.contract import ERRORS, INVALID_VALUE

KEPT: Final = 100_000  # rows that are kept with their text; the others are counted
SHOWN: Final = 200  # characters of a row that is kept


class Bad(NamedTuple):
    """A row that cannot be read: its line from 1, why, and the beginning of its bytes or text."""

    line: int
    message: str
    text: bytes | str


class Rejects:
    """The bad rows of a load. With ``bad_rows: fail`` the first one raises ``SourceError``."""

    def __init__(self, bad_rows: Literal["reject", "fail"]) -> None:
        self.count = 0
        self._fail = bad_rows == "fail"
        self._kept: deque[tuple[str, int, str, str]] = deque()

    def add(self, file: str, bad: Bad) -> None:
        """Count a bad row of ``file``, and keep it while there are few."""
        if self._fail:
            hint = f"{file}, line {bad.line}; mend it, or say bad_rows: reject"
            raise SourceError(bad.message, key="source.bad_rows", value="fail", hint=hint)
        self.count += 1
        if len(self._kept) < KEPT:
            self._kept.append((file, bad.line, bad.message, beginning(bad.text)))

    def table(self) -> pa.Table:
        """Those that were kept, by file and line; where there were more, a last row says how many."""
        files = {file: place for place, file in enumerate(dict.fromkeys(kept[0] for kept in self._kept))}
        rows = [
            {"sys_import_file": file, "sys_import_line": line, "code": INVALID_VALUE, "message": message, "text": text}
            for file, line, message, text in sorted(self._kept, key=lambda kept: (files[kept[0]], kept[1]))
        ]
        if self.count > len(rows):
            rows.append({"code": INVALID_VALUE, "message": f"and {self.count - len(rows):,} more bad rows"})
        return pa.Table.from_pylist(rows, schema=ERRORS)


def beginning(text: bytes | str) -> str:
    """The beginning of what could not be read, without what no text may hold."""
    shown = text[: 4 * SHOWN].decode("utf-8", "replace") if isinstance(text, bytes) else text
    return shown[:SHOWN].encode("utf-8", "replace").decode("utf-8")
