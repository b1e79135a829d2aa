"""What follows a fault: again, after how long, smaller, or stop. Pure: no clock, no socket, no sleep.

``fetch`` is the only place that repeats a request. It is a procedure: whoever drives it does the sending and waiting.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeVar

from snow_assets.errors import (
    CredentialsError,
    ForbiddenError,
    HostError,
    InstanceUnavailable,
    QueryError,
    RequestFailed,
    SnowError,
    UnknownTableError,
)
from snow_assets.servicenow import faults
from snow_assets.servicenow.exchange import Answer, Procedure, Request, Send, Tally, Wait
from snow_assets.servicenow.pages import PageFault, check_status, parse_http_date, server_clock

T = TypeVar("T")
_LONGEST_BACKOFF: Final = 60.0
_MOST_DOUBLINGS: Final = 64  # 2.0 ** 1024 overflows, and a busy instance may be asked more often than that
# Seconds before a busy instance is asked again, whatever it names: doubled from the least to the most.
_LEAST_PAUSE, _MOST_LEAST_PAUSE = 0.1, 1.0
_RANGE: Final = re.compile(r"sys_id(?:>=|<=|>|<|=|IN)[^^]*")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. ``retry_backoff`` and ``max_wait`` are seconds.

    The wait before the n-th repetition is drawn from 0 to ``retry_backoff * 2 ** n`` (full jitter, 60 s at most).
    A busy instance is left alone for 0.1 s at least, doubled up to 1 s while it goes on refusing.
    ``max_wait`` bounds a single wait that the instance asks for, and the sum of waits for a busy instance.
    """

    max_retries: int = 3
    retry_backoff: float = 1.0
    max_wait: float = 900.0
    draw: Callable[[], float] = field(default=random.random, repr=False, compare=False)

    def backoff(self, tries: int) -> float:
        """Seconds to wait after ``tries`` failed tries."""
        return self.draw() * _doubled(self.retry_backoff, tries, _LONGEST_BACKOFF)


class TooHeavy(Exception):
    """The request asked for too much at once; the caller asks for fewer rows. ``fault`` tells why."""

    def __init__(self, fault: PageFault) -> None:
        self.fault = fault
        super().__init__(str(fault))


def fetch(
    request: Request,
    check: Callable[[Answer], T],
    policy: RetryPolicy,
    tally: Tally,
    *,
    can_halve: bool = False,
) -> Procedure[T]:
    """Send ``request`` until ``check`` accepts an answer, and return what ``check`` made of it.

    ``check`` raises ``PageFault`` for an answer that it does not accept. ``tally`` gets requests, retries, faults,
    bytes and waits; rows and counts are its caller's.

    Raises:
        TooHeavy: ``can_halve`` and the fault is one that fewer rows may avoid.
        InstanceUnavailable: the instance is out of reach for good, or asks for a wait beyond ``max_wait``.
        RequestFailed: the retries are used up.
        CredentialsError, ForbiddenError, UnknownTableError, QueryError, HostError: no retry can help.
    """
    failures, refusals, busy, waited = 0, 0, 0, 0.0
    while True:
        answer = yield Send(request)
        if answer is None:
            raise TypeError("the driver replies to Send with an Answer")
        _count(tally, request, answer)
        try:
            check_status(answer)
            return check(answer)
        except PageFault as caught:
            problem = caught
        fault = faults.get(problem.name)
        tally.faults[fault.name] += 1
        failures += not fault.pause
        busy += fault.pause
        refusals += fault.fatal
        last_try = failures > policy.max_retries or refusals > 1
        if can_halve and (fault.halve or (fault.halve_at_last and last_try)):
            raise TooHeavy(problem)
        if not fault.retry or last_try:
            _stop(problem, request, failures)
        wait = _wait(fault, answer, policy, failures + busy - 1)
        if fault.pause:  # else Retry-After 0, or no backoff, would ask without an end and without a pause
            least = _doubled(_LEAST_PAUSE, busy - 1, _MOST_LEAST_PAUSE)
            wait = replace(wait, seconds=max(wait.seconds, least))
        waited += wait.seconds if fault.pause else 0.0
        if max(waited, wait.seconds) > policy.max_wait:
            _give_up_waiting(problem, request, wait, waited, policy)
        tally.retries += 1
        if not wait.shared:  # a shared wait is counted by the driver, in every thread that it holds up
            add_wait(tally, wait.kind, wait.seconds)
        yield wait


def named_wait(answer: Answer, now: datetime | None = None) -> float | None:
    """Seconds that the answer asks to wait (``Retry-After``, else ``X-RateLimit-Reset``); ``None`` where it does not.

    Dates are compared with the instance's own clock (``Date`` header), else with ``now``.
    """
    clock = server_clock(answer) or now or datetime.now(UTC)
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    if text and (date := parse_http_date(text)) is not None:
        return max(0.0, (date - clock).total_seconds())
    reset = answer.headers.get("x-ratelimit-reset", "").strip()
    if answer.status == 429 and re.fullmatch(r"[0-9]{1,12}", reset):
        return max(0.0, float(reset) - clock.timestamp())
    return None


def describe(request: Request) -> str:
    """The request in words, for messages: ``page of incident, sys_id>=a sys_id<=b, limit 1000``."""
    query = request.params.get("sysparm_query", "")
    terms = " ".join(
        term if len(term) < 90 else f"{term[:90]}..." for term in _RANGE.findall(query.partition("^NQ")[0])
    )
    offset = f"offset {request.params['sysparm_offset']}" if "sysparm_offset" in request.params else ""
    limit = f"limit {request.limit}" if request.limit else ""
    return ", ".join(part for part in (f"{request.purpose} of {table_of(request)}", terms, offset, limit) if part)


def table_of(request: Request) -> str:
    """The table that ``request`` reads, from its path."""
    parts = request.path.split("?")[0].strip("/").split("/")
    for kind in ("table", "stats"):
        if kind in parts[:-1]:
            return parts[parts.index(kind) + 1]
    return parts[-1]


def add_wait(tally: Tally, kind: str, seconds: float) -> None:
    """Count ``seconds`` of waiting of ``kind``."""
    tally.waited[kind] += seconds  # type: ignore[assignment]  # Counter is typed for int; seconds are a float


def _wait(fault: faults.Fault, answer: Answer, policy: RetryPolicy, tries: int) -> Wait:
    asked = named_wait(answer)
    if asked is not None:
        # Jitter, so that threads that were refused together do not return together.
        return Wait(asked + policy.draw() * min(1.0, policy.retry_backoff), "rate_limit", shared=True)
    return Wait(policy.backoff(tries), "overload" if fault.pause else "backoff")


def _doubled(seconds: float, times: int, most: float) -> float:
    return min(seconds * 2.0 ** min(times, _MOST_DOUBLINGS), most)


def _count(tally: Tally, request: Request, answer: Answer) -> None:
    tally.requests += 1
    tally.bytes += len(answer.body)
    tally.purposes[request.purpose] += 1
    add_wait(tally, "answer", answer.seconds)


def _give_up_waiting(problem: PageFault, request: Request, wait: Wait, waited: float, policy: RetryPolicy) -> NoReturn:
    seconds = max(wait.seconds, waited)
    raise InstanceUnavailable(
        f"{describe(request)}: {problem.name}; a wait of {seconds:.0f} s is beyond the {policy.max_wait:.0f} s allowed",
        key="max_wait",
        value=f"{policy.max_wait:g}",
        hint="what landed stays; run it again later, or raise max_wait",
    ) from problem


def _stop(problem: PageFault, request: Request, tries: int) -> NoReturn:
    """Raise the error that ``problem`` means once nothing more is tried."""
    fault = faults.get(problem.name)
    said = f"{fault.name} ({problem.detail})" if problem.detail else fault.name
    raise _error(fault, f"{describe(request)}: {said}", request, tries) from problem


def _error(fault: faults.Fault, message: str, request: Request, tries: int) -> SnowError:
    table = table_of(request)
    match fault.name:
        case "unauthorized" | "login_page":
            return credentials_error(message)
        case "forbidden" | "forbidden_api" | "forbidden_query":
            return ForbiddenError(message, key="table", value=table, hint=_missing_right(fault.name, table))
        case "unknown_table":
            return UnknownTableError(message, key="table", value=table, hint="check the spelling: names are lower case")
        case "bad_request":
            return QueryError(message, key="table", value=table, hint="check query and fields")
        case "not_found" if request.purpose != "record":
            hint = "check the table, and that the address is the instance's own"
            return UnknownTableError(message, key="table", value=table, hint=hint)
        case "proxy_sign_in":
            return HostError(message, key="proxy", hint="give the proxy's user and password in the url in SNOW_PROXY")
        case "unknown_host" | "dns" | "tls_certificate" | "redirect":
            return HostError(message, hint=_HOST_HINTS[fault.name])
    if fault.outage:
        tried = f"{message}; tried {tries} times"
        return InstanceUnavailable(tried, hint="what landed stays; run it again when the instance answers")
    return RequestFailed(f"{message}; tried {tries} times", fault=fault.name, hint="run it again")


_HOST_HINTS: Final = {
    "unknown_host": "check the instance's url",
    "dns": "check the instance's url, and this machine's name server",
    "tls_certificate": "set ca_bundle to the certificate authority's file, or check the url",
    "redirect": "set the url to the instance's own address; sign-in pages cannot be passed",
}


def credentials_error(message: str) -> CredentialsError:
    """The one error for credentials that the instance refuses."""
    hint = "check user name and password, or the token; the account must be active and not locked out"
    return CredentialsError(message, hint=hint)


def _missing_right(name: str, table: str) -> str:
    if name == "forbidden_api":
        return "the account needs the role snc_platform_rest_api_access, or what the REST API's ACL asks for"
    if name == "forbidden_query":
        return (
            f"grant read, query_match and query_range on {table} and on every field of the query, sys_id included; "
            "sorting needs query_range"
        )
    return f"grant the account read access to {table}"
