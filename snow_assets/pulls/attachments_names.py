"""Names of files on the disk from names of attachments, which anybody may have chosen."""

from __future__ import annotations

import hashlib
import unicodedata

from snow_assets.servicenow.pages import is_hex

LONGEST = 120  # bytes of a name; file systems take 255, some less in all
_LONGEST_ENDING = 16
_PLAIN = frozenset("._-+=@~,() ")


def path_of(sys_id: str, file_name: str) -> str:
    """``<first two digits>/<sys_id>-<name>``: where an attachment lies below the folder of files."""
    key = sys_id if is_hex(sys_id) else hashlib.sha256(sys_id.encode("utf-8", "replace")).hexdigest()[:32]
    return f"{key[:2]}/{key}-{safe_name(file_name)}"


def safe_name(file_name: str) -> str:
    """A name that every file system takes, that leads nowhere else, and that shows what it is: its ending stays.

    Letters and digits of any script stay; whatever separates, hides, turns round or means something to a shell or to
    Windows becomes ``_``.
    """
    text = unicodedata.normalize("NFC", file_name)
    text = "".join(each if _stays(each) else "_" for each in text).strip(". ")
    stem, dot, ending = text.rpartition(".")
    if not stem or len(ending.encode()) > _LONGEST_ENDING:
        stem, dot, ending = text, "", ""
    stem = _cut(stem, LONGEST - len((dot + ending).encode())).rstrip(". ")
    return f"{stem}{dot}{ending}" or "file"


def _stays(character: str) -> bool:
    """Letters, marks and digits of any script, and plain punctuation."""
    return character in _PLAIN or unicodedata.category(character)[0] in "LMN"


def _cut(text: str, size: int) -> str:
    """As many characters as fit ``size`` bytes."""
    return text.encode()[:size].decode("utf-8", "ignore")
