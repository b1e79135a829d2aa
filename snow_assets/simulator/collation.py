"""How the instance's database orders and compares ids: what sorts alike in all of them is lower-case hex alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

CollationName: TypeAlias = Literal["nocase", "binary", "words"]
Collate: TypeAlias = Callable[[str], str]

_PUNCTUATION = re.compile(r"[^0-9a-z]+")


def _words(text: str) -> str:
    lower = text.lower()
    return f"{_PUNCTUATION.sub('', lower)}\x00{lower}"


COLLATIONS: dict[CollationName, Collate] = {
    "nocase": str.lower,  # MySQL and MariaDB by default: B lies between a and c, and equals b
    "binary": str,  # by code point: B lies before a, and equals nothing else
    "words": _words,  # without regard to case and punctuation, which only tells equals apart
}
"""A key function for each: ids compare as their keys do."""
