"""The text of attachments: fetched by way of a file, proven as every download is, and decoded."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from snow_assets.documents.cells import Record, cell_of
from snow_assets.documents.content import html_to_text, tidy
from snow_assets.documents.wanted import Ask
from snow_assets.errors import ConfigError, RequestFailed
from snow_assets.servicenow.attachments import Described, described, download
from snow_assets.servicenow.exchange import Procedure, Tally
from snow_assets.servicenow.pages import HTML
from snow_assets.servicenow.retry import RetryPolicy

FIELDS: Final = ("content_type", "size_bytes", "hash")
BATCH: Final = 20  # attachments whose texts are in memory at once
AT_ONCE: Final = 4  # downloads
_TEXT: Final = re.compile(r"text/.*|application/(?:json|xml|yaml|x-yaml|.*\+json|.*\+xml)")
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


def texts_among(ask: Ask) -> Iterator[tuple[Record, Described]]:
    """Attachments that are text, of a known size that is not above the most that was asked for."""
    for record in ask.records:
        cells = {name: cell_of(record, name).value for name in ("sys_id", *FIELDS)}
        wanted = described(cells["sys_id"], cells["size_bytes"], cells["hash"], cells["content_type"])
        if _TEXT.fullmatch(wanted.content_type) and wanted.size is not None and wanted.size <= ask.about:
            yield record, wanted


def body(record: Record, wanted: Described, path: Path, policy: RetryPolicy) -> Procedure[str | None]:
    """The text of one attachment; ``None`` where it is gone meanwhile."""
    try:
        yield from download(wanted, path, policy, Tally())
    except RequestFailed as error:
        if error.fault == "not_found":
            return None
        raise
    content = path.read_bytes()
    path.unlink()
    text = _decoded(content, cell_of(record, "content_type").value)
    return html_to_text(text) if wanted.content_type in HTML else tidy(text)


def _decoded(content: bytes, content_type: str) -> str:
    """As its type says, else as UTF-8, else as Windows would have written it."""
    told = _CHARSET.search(content_type)
    for encoding in (told[1] if told else "", _marked(content), "utf-8-sig", "cp1252"):
        with suppress(LookupError, UnicodeDecodeError):
            return content.decode(encoding)
    return content.decode("utf-8", errors="replace")


def _marked(content: bytes) -> str:
    return "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ""


def must_be_a_size(max_size: int) -> int:
    """Raise ``ConfigError`` for a size below 0."""
    if max_size < 0:
        raise ConfigError("too small", key="max_size", value=max_size, hint="bytes, 0 or more")
    return max_size
