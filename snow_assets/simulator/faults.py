"""Faults on demand: which requests they hit, how often, and the list of those that are active.

A rule is plain data, from a YAML or JSON file, over HTTP or in process::

    {"kind": "html_503", "table": "incident", "times": 3}
    {"kind": "reset_inside_body", "request": "list", "every": 50}
    {"kind": "error_500", "sys_id": "57af7aec73d423002728660c4cf6a71c", "narrow": False}   # until it is removed

What a rule may say, besides its ``kind`` (see ``fault_kinds.KINDS``) and that kind's own parameters:

=============  ====================================================================================================
``table``      only requests of this table
``request``    only this kind: ``list``, ``record``, ``count``, ``token``, ``file``, ``write``, ``other``; any but
               ``token`` when left out
``write``      true: only requests that write (Table API, imports); false: only others
``method``     only this verb, or one of a list of them
``committed``  writes only; false: nothing is written. Otherwise it is written all the same, and the answer is spoiled
``path``       only paths that begin so
``query``      only a ``sysparm_query`` that holds this text
``sys_id``     only pages on which this row would be
``low, high``  only pages with a row from ``low`` to ``high`` (``high`` excluded)
``covers``     only queries whose sys_id range or list holds this sys_id, whether or not there is such a row
``offset``     only this ``sysparm_offset``
``above``      only lists that ask for more rows than this
``narrow``     true: only requests of ``sysparm_fields=sys_id``; false: only others
``fresh``      true: only requests without a session cookie; false: only with one
``first``      true: only requests that ask for a count; false: only those with ``sysparm_no_count``
``asks``       only lists that ask for this field in ``sysparm_fields``
``probability``  hit a matching request with this probability, seeded by ``seed`` (0)
``after``      let so many matching requests pass first
``every``      then hit one of so many (1)
``times``      and stop after so many hits (no end when left out)
``lasting``    or so many seconds after the first one
=============  ====================================================================================================
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from snow_assets.simulator.fault_kinds import KINDS, Context
from snow_assets.simulator.tables import DEFAULT_LIMIT
from snow_assets.simulator.wire import Asked, Delivery, Reply

_MATCHES = frozenset({
    "table", "request", "path", "query", "sys_id", "low", "high", "covers", "offset", "above", "narrow", "fresh",
    "first", "asks", "write", "method", "committed",
})  # fmt: skip
_RHYTHM = frozenset({"probability", "seed", "after", "every", "times", "lasting"})
# What changes an answer and leaves it whole: it would say of a write that is not done that it is.
_WHOLE = frozenset({
    "latency", "drip", "wrong_date", "wrong_link", "numbers", "byte_order_mark", "answered_twice", "gzip_trailing",
    "content_type", "short_length", "no_last_chunk",
})  # fmt: skip
_LIST = re.compile(r"\bsys_idIN([^^]*)")
_BOUND = re.compile(r"sys_id(>=|<=|>|<)([0-9a-zA-Z]+)")


class FaultRule:
    """One active rule. ``matched`` and ``hits`` count the requests that it saw and those that it spoiled."""

    def __init__(self, number: int, document: Mapping[str, Any]) -> None:
        """Check and keep ``document``; ValueError names what is wrong with it."""
        self.number, self.document = number, dict(document)
        self.matched = self.hits = 0
        name = self.document.get("kind")
        if name not in KINDS:
            raise ValueError(f"unknown kind of fault {name!r}; known: {', '.join(sorted(KINDS))}")
        self.kind = KINDS[name]
        unknown = set(self.document) - _MATCHES - _RHYTHM - set(self.kind.parameters) - {"kind"}
        if unknown:
            known = ", ".join(sorted(_MATCHES | _RHYTHM | set(self.kind.parameters)))
            raise ValueError(f"fault {name}: unknown key {min(unknown)!r}; known: {known}")
        if not self.committed and (self._leaves_whole() or self.document.get("write") is False):
            raise ValueError(f"fault {name}: committed: false is for writes, and for answers that are none")
        self._random = random.Random(self.document.get("seed", 0))
        self._lock = threading.Lock()
        self._began = 0.0  # when it first hit

    @property
    def committed(self) -> bool:
        """Whether the write that is hit is done all the same."""
        return self.document.get("committed", True) is not False

    @property
    def parameters(self) -> dict[str, Any]:
        """The kind's parameters, defaults filled in."""
        return {name: self.document.get(name, default) for name, default in self.kind.parameters.items()}

    def _leaves_whole(self) -> bool:
        """Whether an answer comes through, changed or not: what spoils pages does nothing to the answer of a write."""
        asked = Asked("POST", "/", "", "/", {}, {})
        untouched = Reply(201, b'{"result":{}}', kind="write")
        reply = self.kind.apply(untouched, Context(asked, 0.0, lambda again: untouched), self.parameters)
        same = (reply.status, reply.body, reply.delivery) == (201, b'{"result":{}}', Delivery())
        return same or self.kind.name in _WHOLE

    def due(self, asked: Asked, reply: Reply) -> bool:
        """Whether this request is hit; counts it."""
        if not self._concerns(asked, reply):
            return False
        rule = self.document
        with self._lock:
            self.matched += 1
            turn = self.matched - int(rule.get("after", 0))
            spent = ("times" in rule and self.hits >= int(rule["times"])) or self._over()
            if spent or turn <= 0 or (turn - 1) % int(rule.get("every", 1)):
                return False
            if self._random.random() >= float(rule.get("probability", 1.0)):
                return False
            self._began = self._began or time.monotonic()
            self.hits += 1
            return True

    def _over(self) -> bool:
        lasting = self.document.get("lasting")
        return lasting is not None and self._began > 0 and time.monotonic() - self._began > float(lasting)

    def _concerns(self, asked: Asked, reply: Reply) -> bool:
        rule = self.document
        wanted = rule.get("request")
        if (reply.kind != wanted) if wanted else (reply.kind == "token"):
            return False
        query = asked.params.get("sysparm_query", "")
        checks: dict[str, Callable[[Any], bool]] = {
            "committed": lambda value: reply.kind == "write",
            "write": lambda value: (reply.kind == "write") is value,
            "method": lambda value: asked.method in ([value] if isinstance(value, str) else value),
            "table": lambda value: reply.table == value,
            "path": asked.path.startswith,
            "query": lambda value: value in query,
            "sys_id": lambda value: value in reply.ids,
            "covers": lambda value: _covers(query, value),
            "offset": lambda value: asked.params.get("sysparm_offset", "0") == str(value),
            "above": lambda value: reply.kind == "list" and _limit(asked) > value,
            "narrow": lambda value: (asked.params.get("sysparm_fields") == "sys_id") is value,
            "fresh": lambda value: ("JSESSIONID" not in asked.headers.get("cookie", "")) is value,
            "first": lambda value: (not asked.flag("sysparm_no_count")) is value,
            "asks": lambda value: value in asked.params.get("sysparm_fields", "").split(","),
        }
        if any(name in rule and not check(rule[name]) for name, check in checks.items()):
            return False
        if "low" in rule or "high" in rule:
            low, high = rule.get("low") or "", rule.get("high") or "\uffff"
            return any(low <= one < high for one in reply.ids)
        return True

    def as_document(self) -> dict[str, Any]:
        """The rule and its counters."""
        return {"id": self.number, **self.document, "matched": self.matched, "hits": self.hits}


class Faults:
    """The active rules of one instance, in the order in which they were added. Thread-safe."""

    def __init__(self) -> None:
        """Start without any."""
        self._rules: dict[int, FaultRule] = {}
        self._numbers = 0
        self._lock = threading.Lock()

    def add(self, *documents: Mapping[str, Any], **parts: Any) -> int:
        """Activate rules (mappings, or one given by keywords); returns the number of the last. Raises ValueError."""
        number = 0
        for document in (*documents, *([parts] if parts else [])):
            with self._lock:
                self._numbers += 1
                number = self._numbers
                self._rules[number] = FaultRule(number, document)
        return number

    def clear(self, number: int | None = None) -> None:
        """Remove one rule, or all of them."""
        with self._lock:
            if number is None:
                self._rules.clear()
            else:
                self._rules.pop(number, None)

    def load(self, path: str | Path) -> None:
        """Add the rules of a JSON or YAML file: a list, or a map with the list under ``faults``."""
        self.add(*read_rules(Path(path).read_text(encoding="utf-8")))

    def rules(self) -> list[FaultRule]:
        """The active rules."""
        with self._lock:
            return list(self._rules.values())

    def __iter__(self) -> Any:
        return iter(self.rules())

    def __len__(self) -> int:
        return len(self._rules)

    def apply(self, asked: Asked, reply: Reply, context: Context) -> tuple[Reply, str]:
        """The answer after the faults that are due, and their kinds joined by commas."""
        if reply.fault:
            return reply, reply.fault
        return self._spoiled(asked, reply, context, committed=True)

    def instead(self, asked: Asked, pending: Reply, context: Context) -> Reply | None:
        """The answer to a write that a fault keeps from being done; ``pending`` is what it would have been."""
        reply, names = self._spoiled(asked, pending, context, committed=False)
        reply.fault = names
        return reply if names else None

    def _spoiled(self, asked: Asked, reply: Reply, context: Context, *, committed: bool) -> tuple[Reply, str]:
        names = []
        for rule in self.rules() if self._rules else ():
            if rule.committed is committed and rule.due(asked, reply):
                names.append(rule.kind.name)
                reply = rule.kind.apply(reply, context, rule.parameters)
        return reply, ",".join(names)


def read_rules(text: str) -> list[dict[str, Any]]:
    """Rules from JSON or YAML text. Raises ValueError when it is neither, or holds no list of maps."""
    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(f"the faults are neither JSON nor YAML: {error}") from error
    rules = document.get("faults") if isinstance(document, dict) else document
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise ValueError("the faults must be a list of maps, or a map with such a list under 'faults'")
    return rules


def describe(rules: Iterable[FaultRule]) -> list[dict[str, Any]]:
    """Rules as plain data."""
    return [rule.as_document() for rule in rules]


def _limit(asked: Asked) -> int:
    text = asked.params.get("sysparm_limit", "")
    return int(text) if text.isdecimal() else DEFAULT_LIMIT


def _covers(query: str, sys_id: str) -> bool:
    tests = {">=": sys_id.__ge__, "<=": sys_id.__le__, ">": sys_id.__gt__, "<": sys_id.__lt__}
    if any(sys_id not in listed.lower().split(",") for listed in _LIST.findall(query)):
        return False
    return all(tests[symbol](bound.lower()) for symbol, bound in _BOUND.findall(query))
