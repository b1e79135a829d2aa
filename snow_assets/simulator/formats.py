"""What an ``Accept`` header asks for, and answers as XML."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from snow_assets.simulator.wire import Asked, Reply

XML = "application/xml;charset=UTF-8"


def wanted(asked: Asked) -> str:
    """``json``, ``xml``, or "" where the client accepts neither.

    The first of the two that is named wins; JSON where anything goes or nothing is said.
    """
    accept = asked.headers.get("accept", "") or "*/*"
    best = ("", 0.0)
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((_quality(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
        name = "xml" if media in ("application/xml", "text/xml") else "json" if _json(media) else ""
        if name and quality > best[1]:
            best = (name, quality)
    return best[0]


def as_xml(reply: Reply) -> Reply:
    """The same answer in XML; what is no JSON stays as it is."""
    reply.finish()
    try:
        document = json.loads(reply.body)
    except ValueError:
        return reply
    inner = "".join(_element(name, value) for name, value in document.items()) if isinstance(document, dict) else ""
    reply.body = f'<?xml version="1.0" encoding="UTF-8"?><response>{inner}</response>'.encode()
    reply.content_type = XML
    return reply


def _json(media: str) -> bool:
    return media in ("application/json", "application/*", "*/*", "text/json")


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, one) for one in value)
    if isinstance(value, dict):
        return f"<{name}>" + "".join(_element(key, one) for key, one in sorted(value.items())) + f"</{name}>"
    return f"<{name}>{escape(str(value))}</{name}>" if value not in (None, "") else f"<{name}/>"
