"""From the bytes of a list answer to records. Two decoders: plain dicts, and typed structs of known fields.

Typed structs parse a page of 1,000 rows x 20 fields in a third of the time that dicts take, and hand Arrow
attributes instead of look-ups. Where the instance sends what the types do not allow (numbers, booleans), the page is
parsed again the plain way and such values become their JSON text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, UnsetType

BOM: Final = b"\xef\xbb\xbf"
# What a body that is no JSON raises; values nested too deep to be read are a RecursionError.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_EXECUTION_TIME: Final = "maximum execution time exceeded"


class PageFault(Exception):
    """An answer is not what was asked for. ``name`` is of the table of faults; ``detail`` is for people."""

    def __init__(self, name: str, detail: str = "") -> None:
        self.name = name
        self.detail = detail
        super().__init__(f"{name}: {detail}" if detail else name)


class Decoded(NamedTuple):
    """The records of one body. ``ids[i]`` is the sys_id of ``records[i]``, a string that is not empty.

    Of a decoder with a key of its own, it is the key's values: of one field the value, of several a JSON list.
    """

    records: list[Any]
    ids: list[str]


class Decoder(Protocol):
    """Turns the body of a list answer into records."""

    def decode(self, body: bytes) -> Decoded:
        """The records of ``body``. Raises ``PageFault`` when it is not an object with a whole ``result`` list."""
        ...

    def lacking(self, records: Sequence[Any], field: str) -> bool:
        """Whether none of ``records`` (as this decoder made them) has ``field``."""
        ...


class DictDecoder:
    """Records as plain dicts, as ``json.loads`` would give them."""

    def __init__(self, *, identified: bool = True) -> None:
        """``identified=False``: the records need no sys_id, and their ids are their places in the body."""
        self.identified = identified

    def decode(self, body: bytes) -> Decoded:
        """See ``Decoder``."""
        records = _record_list(self.parse(body))
        if not self.identified:
            return Decoded(records, [str(place) for place in range(len(records))])
        return Decoded(records, [_sys_id(record.get("sys_id")) for record in records])

    def lacking(self, records: Sequence[Any], field: str) -> bool:
        """See ``Decoder``."""
        return not any(field in record for record in records)

    @staticmethod
    def parse(body: bytes) -> dict[str, Any]:
        """The JSON object in ``body``, free of an ``error``. Raises ``PageFault``."""
        try:
            envelope = msgspec.json.decode(body.removeprefix(BOM))
        except NOT_JSON as error:
            raise _syntax_fault(body, error) from None
        if not isinstance(envelope, dict):
            raise PageFault({type(None): "null_body", list: "list_body"}.get(type(envelope), "not_an_object"))
        _refuse_error(envelope.get("error"), envelope.get("status"))
        return envelope


class Cell(msgspec.Struct, gc=False, omit_defaults=True):
    """A field sent as an object; a half that was not sent is ``None``, as is one sent as ``null``.

    (Which halves are sent follows from the display mode, and ``link`` is never ``null``: nothing is lost.)
    """

    display_value: str | None = None
    value: str | None = None
    link: str | None = None


class StructDecoder:
    """Records as structs with one attribute per field: ``f0``, ``f1``, ... in the order of ``fields``.

    An attribute is a ``Cell`` (sent as an object), a ``str``, ``None`` (sent as ``null``) or ``UNSET`` (not sent).
    Keys that are not in ``fields`` are passed over.
    """

    def __init__(self, fields: Sequence[str], key: Sequence[str] = ()) -> None:
        """``fields``: distinct names, dot-walked ones included, ``sys_id`` or all of ``key`` among them.

        ``key`` are the fields that name a row of a table without a usable sys_id. Else ``ValueError``.
        """
        if not set(key or ("sys_id",)) <= set(fields) or len(set(fields)) != len(fields):
            raise ValueError("fields must be distinct and hold sys_id, or the whole key")
        self.fields = tuple(fields)
        self.attributes = {field: f"f{index}" for index, field in enumerate(self.fields)}
        self._sys_id = "" if key else self.attributes["sys_id"]
        self._key = {self.attributes[name]: name for name in key}
        self.record_type: type[msgspec.Struct] = msgspec.defstruct(
            "Record",
            [(name, Cell | str | None | UnsetType, UNSET) for name in self.attributes.values()],
            rename={name: field for field, name in self.attributes.items()},
            gc=False,
        )
        envelope = msgspec.defstruct(
            "Envelope",
            [("result", list[self.record_type]), ("error", Any, None), ("status", Any, None)],  # type: ignore[name-defined]
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(envelope)

    def decode(self, body: bytes) -> Decoded:
        """See ``Decoder``."""
        try:
            envelope = self._decoder.decode(body.removeprefix(BOM))
        except msgspec.ValidationError:
            return self._decode_plainly(body)
        except NOT_JSON as error:
            raise _syntax_fault(body, error) from None
        _refuse_error(envelope.error, envelope.status)
        return self._decoded(envelope.result)

    def lacking(self, records: Sequence[Any], field: str) -> bool:
        """See ``Decoder``."""
        attribute = self.attributes[field]
        return all(getattr(record, attribute) is UNSET for record in records)

    def _decode_plainly(self, body: bytes) -> Decoded:
        records = _record_list(DictDecoder.parse(body))
        typed = [self._typed(record) for record in records]
        if self._key:  # a key's number is the text that it is elsewhere; a sys_id that is no text is none
            return self._decoded(typed)
        return Decoded(typed, [_sys_id(record.get("sys_id")) for record in records])

    def _decoded(self, records: list[Any]) -> Decoded:
        if self._key:
            return Decoded(records, [self._key_of(record) for record in records])
        ids = [_sys_id(getattr(record, self._sys_id)) for record in records]
        return Decoded(records, ids)

    def _key_of(self, record: Any) -> str:
        return key_id([_key_value(getattr(record, attribute), name) for attribute, name in self._key.items()])

    def _typed(self, record: dict[str, Any]) -> msgspec.Struct:
        known = {name: _typed_field(record[field]) for field, name in self.attributes.items() if field in record}
        return self.record_type(**known)


def _typed_field(raw: Any) -> Cell | str | None:
    if not isinstance(raw, dict):
        return _text(raw)
    return Cell(_text(raw.get("display_value")), _text(raw.get("value")), _text(raw.get("link")))


def _text(raw: Any) -> str | None:
    return raw if raw is None or isinstance(raw, str) else msgspec.json.encode(raw).decode()


def _record_list(envelope: dict[str, Any]) -> list[Any]:
    result = envelope.get("result")
    if not isinstance(result, list):
        raise PageFault("no_result", "`result` is no list")
    if not all(isinstance(record, dict) for record in result):
        raise PageFault("malformed_record", "a record is no object")
    return result


def _sys_id(raw: Any) -> str:
    if isinstance(raw, Cell):
        raw = raw.value or raw.display_value
    elif isinstance(raw, dict):
        raw = raw.get("value") or raw.get("display_value")
    if not isinstance(raw, str) or not raw:
        raise PageFault("missing_sys_id")
    return raw


def key_id(values: Sequence[str]) -> str:
    """The id of a row that these values name together."""
    return values[0] if len(values) == 1 else msgspec.json.encode(values).decode()


def key_values(row_id: str, key: Sequence[str]) -> list[str]:
    """The values in an id that ``key_id`` made of the fields of ``key``."""
    return [row_id] if len(key) == 1 else msgspec.json.decode(row_id, type=list[str])


def _key_value(raw: Any, field: str) -> str:
    """A key's stored value, which may be empty. Not sent is another matter: then the row cannot be named."""
    value = raw.value if isinstance(raw, Cell) else raw
    if raw is UNSET or (value is None and isinstance(raw, Cell)):
        raise PageFault("missing_sys_id", f"a record without {field}, of the key")
    return value or ""


def _refuse_error(error: Any, status: Any) -> None:
    if not error and status != "failure":  # only refusals have a status
        return
    text = error.get("message") if isinstance(error, dict) else error
    if _EXECUTION_TIME in str(error):
        raise PageFault("execution_time", "an error beside the rows")
    raise PageFault("error_in_200", " ".join(str(text or "status failure").split())[:200])


def _syntax_fault(body: bytes, error: Exception) -> PageFault:
    if not body.removeprefix(BOM).strip():
        return PageFault("empty_body")
    if _EXECUTION_TIME.encode() in body:
        return PageFault("execution_time", "broken JSON with the platform's text")
    return PageFault("truncated_json" if "truncated" in str(error) else "malformed_json", str(error))
