"""The file of an attachment: fetched to the disk, and held against what its record says of it.

The instance sends what its record says along with the file (``X-Attachment-Metadata``), so a file that was replaced
since its record was read is known by that, and taken as it is now.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from snow_assets.servicenow.exchange import Answer, Procedure, Request, Sink, Stored, Tally
from snow_assets.servicenow.pages import HTML, PageFault, check_answered, content_type_of, html_fault
from snow_assets.servicenow.retry import RetryPolicy, fetch

LARGEST: Final = 1 << 40  # bytes read of a file whose size nobody told
_SLOWEST: Final = 50_000  # bytes a second below which a file is given up, once the time-outs are over
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Described:
    """What a record of ``sys_attachment`` says of its file. ``size``: bytes, ``None`` where it does not say.

    ``sha256`` is hex; ``""`` where there is no hash, or one of another kind.
    """

    sys_id: str
    size: int | None = None
    sha256: str = ""
    content_type: str = ""

    def fits(self, size: int, sha256: str) -> bool:
        """Whether a file of that size and hash is the one described."""
        return self.size in (None, size) and self.sha256 in ("", sha256)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it came: bytes, SHA-256 in hex, and whether the instance's own hash agreed or only the size did."""

    size: int
    sha256: str
    proven: bool


def described(sys_id: str, size: str, sha256: str, content_type: str = "") -> Described:
    """What a record says, from its texts as they were sent."""
    digits, digest = size.replace(",", "").strip(), sha256.strip().lower()
    return Described(
        sys_id,
        int(digits) if digits.isdecimal() else None,
        digest if _SHA256.fullmatch(digest) else "",
        content_type.partition(";")[0].strip().lower(),
    )


def download(
    wanted: Described, path: Path, policy: RetryPolicy, tally: Tally, stopped: Callable[[], bool] = bool
) -> Procedure[Fetched]:
    """The file of one attachment, written to ``path``. A try that fails is written anew by the next.

    Raises as ``fetch``: ``RequestFailed`` with the fault ``not_found`` where there is no such attachment any more, or
    with ``wrong_file`` where the file is never the one that its record describes.
    """
    size = LARGEST if wanted.size is None else wanted.size
    # One byte more than there should be is enough to know, unless the file was replaced meanwhile by a larger one.
    sink = Sink(path, most=max(2 * size, size + (1 << 20)), seconds=min(size, LARGEST) / _SLOWEST, stopped=stopped)
    request = Request(f"/api/now/attachment/{quote(wanted.sys_id, safe='')}/file", {}, "file", sink=sink)

    def check(answer: Answer) -> Fetched:
        return _checked(answer, wanted)

    return (yield from fetch(request, check, policy, tally, check_first=check_answered))


def _checked(answer: Answer, wanted: Described) -> Fetched:
    """The file of a 200, or ``PageFault``."""
    stored = answer.stored
    if stored is None:
        raise PageFault("empty_body")
    told = _told(answer, wanted)
    # A record without a size fits anything: it counts only where nothing else speaks.
    records = [record for record in (wanted, told) if record is not None and record.size is not None] or [wanted]
    for record in records:
        if record.fits(stored.size, stored.sha256) and not _is_page(answer, record, told):
            return Fetched(stored.size, stored.sha256, proven=bool(record.sha256))
    if told is None and content_type_of(answer) in HTML:
        raise html_fault(stored.head)
    raise PageFault("wrong_file", _difference(stored, told or wanted))


def _is_page(answer: Answer, record: Described, told: Described | None) -> bool:
    """Whether it may be a page of the front end: nothing but its own size speaks for it."""
    unproven = told is None and not record.sha256
    return unproven and content_type_of(answer) in HTML and record.content_type not in HTML


def _told(answer: Answer, wanted: Described) -> Described | None:
    """What the answer's own header says of the file; ``None`` without one, or with that of another attachment."""
    try:
        record: Any = msgspec.json.decode(answer.headers.get("x-attachment-metadata", ""))
    except (msgspec.DecodeError, UnicodeError):
        return None
    if not isinstance(record, dict) or record.get("sys_id") != wanted.sys_id:
        return None
    told = described(wanted.sys_id, str(record.get("size_bytes") or ""), str(record.get("hash") or ""))
    return None if told.size is None else told


def _difference(stored: Stored, record: Described) -> str:
    if record.size not in (None, stored.size):
        return f"{stored.size:,} bytes, its record says {record.size:,}"
    return f"its SHA-256 is {stored.sha256[:12]}..., its record says {record.sha256[:12]}..."
