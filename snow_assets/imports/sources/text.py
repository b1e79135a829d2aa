"""Files of text in any encoding, as UTF-8 bytes that come in pieces.

What cannot be decoded comes through as bytes that are no UTF-8: whoever splits the text into rows rejects those rows.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from snow_assets.errors import ConfigError
from snow_assets.imports.sources.files import opening, reading

CHUNK: Final = 4 << 20  # bytes
CHECKED: Final = 1 << 20  # bytes at the beginning that must be of the encoding
_BOM: Final = codecs.BOM_UTF8
_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_ERRORS: Final = "snow_assets.undecodable"
_UTF8: Final = ("utf-8", "utf-8-sig")


def _undecodable(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udc80", error.end  # a lone surrogate: encoded with surrogatepass it is no UTF-8
    raise error


codecs.register_error(_ERRORS, _undecodable)


def check_encoding(encoding: str) -> str:
    """The encoding's own name. Raises ``ConfigError`` where there is none of that name, or it is none of text."""
    try:
        name = codecs.lookup(encoding).name
        " ".encode(encoding)
        codecs.getincrementaldecoder(encoding)("strict")
    except (LookupError, ValueError):
        hint = "such as utf-8, utf-16, latin-1, cp1252, shift_jis"
        raise ConfigError("is no encoding", key="source.encoding", value=encoding, hint=hint) from None
    return name


def check_beginning(path: Path, name: str, encoding: str, kind: str) -> None:
    """Raise ``ConfigError`` where the beginning of a file is not of the encoding, or the file is empty."""
    with opening(kind, name), path.open("rb") as file:
        head = file.read(CHECKED)
    if not head:
        raise ConfigError("is empty", key=f"source.{kind}", value=name, hint="it has not even a header")
    own = codecs.lookup(encoding).name
    for mark, marked in _MARKS:
        if head.startswith(mark) and not own.startswith((marked, "utf-32")):
            message = f"{name}, line 1, byte 0: begins with the byte order mark of {marked}"
            raise ConfigError(message, key="source.encoding", value=encoding, hint=f"write encoding: {marked}")
    try:
        codecs.getincrementaldecoder(encoding)("strict").decode(head, final=len(head) < CHECKED)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].decode(encoding, "replace").count("\n") + 1
        found = f"byte 0x{error.object[error.start]:02x}" if error.start < len(error.object) else "its end"
        message = f"{name}, line {line}, byte {error.start}: {found} cannot be decoded"
        hint = f"perhaps encoding: {_likely(head)}"
        raise ConfigError(message, key="source.encoding", value=encoding, hint=hint) from None


def _likely(head: bytes) -> str:
    if b"\0" in head[:100]:
        return "utf-16-le" if head[1:2] == b"\0" else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return "cp1252 or latin-1"
    return "utf-8"


def utf8_chunks(path: Path, name: str, encoding: str, size: int = CHUNK) -> Iterator[bytes]:
    """The text of a file as UTF-8, without a byte order mark, in pieces of about ``size`` bytes."""
    plain = codecs.lookup(encoding).name in _UTF8
    decoder = codecs.getincrementaldecoder(encoding)(_ERRORS)
    first = True
    with reading(name), path.open("rb", buffering=0) as file:
        while True:
            raw = file.read(size)
            data = raw if plain else decoder.decode(raw, final=not raw).encode("utf-8", "surrogatepass")
            if first and data:
                data, first = data.removeprefix(_BOM), False
            if data:
                yield data
            if not raw:
                return
