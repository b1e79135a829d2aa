"""What follows a fault: again, after how long, smaller, or stop. Pure: no clock, no socket, no sleep.

``fetch`` is the only place that repeats a request. It is a procedure: whoever drives it does the sending and waiting.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, NoReturn, TypeAlias, TypeVar

from snow_assets.errors import InstanceUnavailable, SnowError
from snow_assets.servicenow import faults
from snow_assets.servicenow.budget import RetryBudget
from snow_assets.servicenow.complaints import WHEN_IT_ANSWERS, describe, error_of, said_of, stop
from snow_assets.servicenow.exchange import Answer, Procedure, Request, Send, Tally, Wait
from snow_assets.servicenow.fault_log import FaultLog
from snow_assets.servicenow.pages import PageFault, check_status, parse_http_date, server_clock

T = TypeVar("T")
Look: TypeAlias = Callable[[PageFault], Procedure[T | None]]
"""Whether a write that met a fault was carried out all the same: what came of it, or ``None`` where it may be sent."""
_LONGEST_BACKOFF: Final = 60.0
_MOST_DOUBLINGS: Final = 64  # 2.0 ** 1024 overflows, and a busy instance may be asked more often than that
# Seconds before a busy instance is asked again, whatever it names: doubled from the least to the most.
_LEAST_PAUSE, _MOST_LEAST_PAUSE = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long. ``retry_backoff`` and ``max_wait`` are seconds.

    The wait before the n-th repetition is drawn from 0 to ``retry_backoff * 2 ** n`` (full jitter; 60 s at most, and
    60 times ``retry_backoff``).
    A busy instance is left alone for 0.1 s at least, doubled up to 1 s while it goes on refusing.
    ``max_wait`` bounds a single wait that the instance asks for, and the sum of waits for a busy instance.
    ``budget`` is what all requests of a run share; without one, each request stands alone.
    """

    max_retries: int = 3
    retry_backoff: float = 1.0
    max_wait: float = 900.0
    draw: Callable[[], float] = field(default=random.random, repr=False, compare=False)
    budget: RetryBudget | None = field(default=None, repr=False, compare=False)
    log: FaultLog = field(default_factory=FaultLog, repr=False, compare=False)

    def backoff(self, tries: int) -> float:
        """Seconds to wait after ``tries`` failed tries."""
        return self.draw() * _doubled(self.retry_backoff, tries, _LONGEST_BACKOFF * min(1.0, self.retry_backoff))


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
    check_first: Callable[[Answer], None] = check_status,
    look: Look[T] | None = None,
) -> Procedure[T]:
    """Send ``request`` until ``check`` accepts an answer, and return what ``check`` made of it.

    ``check`` raises ``PageFault`` for an answer that it does not accept; ``check_first`` does for one that is no answer
    of the API, unless told otherwise one without a JSON body. ``look`` is asked after every fault that leaves open
    whether the request was carried out, before it is sent again or given up. ``tally`` gets requests, retries, faults,
    bytes and waits; rows and counts are its caller's.

    Raises:
        TooHeavy: ``can_halve`` and the fault is one that fewer rows may avoid.
        InstanceUnavailable: the instance is out of reach for good, or asks for a wait beyond ``max_wait``.
        RequestFailed: the retries are used up.
        CredentialsError, ForbiddenError, UnknownTableError, QueryError, HostError: no retry can help.
    """
    tries = _Tries(request, policy, tally)
    while True:
        answer = yield Send(request)
        if answer is None:
            raise TypeError("the driver replies to Send with an Answer")
        _count(tally, request, answer)
        try:
            check_first(answer)
            result = check(answer)
        except PageFault as caught:
            problem = caught
        else:
            tries.accepted()
            return result
        fault = tries.failed(problem, answer)
        back = tries.may_be_down(fault) and (yield from tries.outlast(problem))
        if can_halve and not back and (fault.halve or (fault.halve_at_last and tries.last)):
            raise TooHeavy(problem)
        last = not back and (not fault.retry or tries.last)
        if not (back or last):
            yield from _pause(tries.wait(problem, answer), tally)
        if look and not fault.undone and (found := (yield from look(problem))) is not None:
            return found
        if last:
            stop(problem, request, tries.failures)


def _pause(wait: Wait, tally: Tally) -> Procedure[None]:
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
    tally.bytes += answer.size
    tally.purposes[request.purpose] += 1
    add_wait(tally, "answer", answer.seconds)


class _Tries:
    """What became of one request so far, and what it has to do with the budget of its run."""

    def __init__(self, request: Request, policy: RetryPolicy, tally: Tally) -> None:
        self.failures = 0
        self._refusals = self._busy = 0
        self._waited = 0.0
        self._halfway = 0.0  # of the last try
        self._request, self._policy, self._tally = request, policy, tally
        self._budget = policy.budget
        self._before = None if policy.budget is None else policy.budget.gave_up

    @property
    def last(self) -> bool:
        """Whether the retries are used up."""
        return self.failures > self._policy.max_retries or self._refusals > 1

    def accepted(self) -> None:
        """An answer was accepted."""
        if self._budget is not None:
            self._budget.accepted(self._request.purpose)

    def failed(self, problem: PageFault, answer: Answer) -> faults.Fault:
        """Count a failure, and charge it to the run's budget.

        Raises ``InstanceUnavailable`` where that is used up, ``Cancelled`` where the run was given up meanwhile.
        """
        fault = faults.get(problem.name)
        self._tally.faults[fault.name] += 1
        self._policy.log.met(fault.name, said_of(problem), describe(self._request))
        self.failures += not fault.pause
        self._busy += fault.pause
        self._refusals += fault.fatal
        budget = self._budget
        if budget is None:
            return fault
        if budget.gave_up is not self._before:
            raise budget.stopped() from budget.gave_up
        self._halfway = budget.now() - answer.seconds / 2
        if fault.pause:
            budget.heard()
        elif budget.failed(fault.name, answer.seconds, down=fault.down):
            error = InstanceUnavailable(
                f"{budget.spent} requests in a row failed ({budget.said()}), the last: {describe(self._request)}:"
                f" {said_of(problem)}",
                hint=WHEN_IT_ANSWERS,
            )
            self._end(error, problem)
        return fault

    def may_be_down(self, fault: faults.Fault) -> bool:
        """Whether the instance as a whole may be why this request is about to fail, or to be made smaller."""
        budget = self._budget
        if budget is None or not fault.down:
            return False
        # What others heard meanwhile may have been said just before the end, so the last try does not go by it.
        return self.last or ((fault.halve or budget.impatient) and budget.silent_since(self._halfway))

    def outlast(self, problem: PageFault) -> Procedure[bool]:
        """Ask whether the instance is there, and wait for it; whether it was not. One thread does, for all.

        Raises ``InstanceUnavailable`` where it does not come back in time, or was never there.
        """
        budget = self._budget
        assert budget is not None  # noqa: S101 - else nobody asks
        was_down = self.last  # the others send again, or for less, as soon as the one who asks knows
        if budget.lead():
            try:
                was_down = yield from self._probe(budget, problem)
            finally:
                budget.led()
        if was_down:
            self.failures = 0
        return was_down

    def wait(self, problem: PageFault, answer: Answer) -> Wait:
        """The wait before the next try. Raises ``InstanceUnavailable`` for one beyond ``max_wait``."""
        policy, fault = self._policy, faults.get(problem.name)
        wait = _wait(fault, answer, policy, self.failures + self._busy - 1)
        if fault.pause:  # else Retry-After 0, or no backoff, would ask without an end and without a pause
            least = _doubled(_LEAST_PAUSE, self._busy - 1, _MOST_LEAST_PAUSE)
            wait = replace(wait, seconds=max(wait.seconds, least))
            self._waited += wait.seconds
        longest = max(self._waited, wait.seconds)
        if longest > policy.max_wait:
            error = InstanceUnavailable(
                f"{describe(self._request)}: {said_of(problem)}; a wait of {longest:.0f} s is beyond the"
                f" {policy.max_wait:.0f} s allowed",
                key="max_wait",
                value=f"{policy.max_wait:g}",
                hint="what landed stays; run it again later, or raise max_wait",
            )
            self._end(error, problem)
        return wait

    def _probe(self, budget: RetryBudget, problem: PageFault) -> Procedure[bool]:
        """Ask until the instance answers anything that a dead one would not; whether it had to be waited for."""
        yield Wait(0.0, "outage", shared=True)
        probes = 0
        while True:
            answer = yield Send(_HEALTH)
            if answer is None:
                raise TypeError("the driver replies to Send with an Answer")
            _count(self._tally, _HEALTH, answer)
            if is_there(answer):
                budget.heard()
                return probes > 0
            seconds = budget.pause(probes, self._policy.draw()) if budget.trusted else None
            if seconds is None:
                self._end(self._down(budget, problem), problem)
            probes += 1
            yield Wait(seconds, "outage", shared=True)

    def _down(self, budget: RetryBudget, problem: PageFault) -> SnowError:
        """The one message of a run that an instance ended by being down."""
        said = f"{describe(self._request)}: {said_of(problem)}"
        if budget.trusted:
            said = f"the instance is down, nothing was heard of it for {budget.down_for():.0f} s; {said}"
        elif problem.name == "dns":
            return error_of(faults.get("dns"), said, self._request, self.failures)
        else:
            said = f"{said}; tried {self.failures} times"
        return InstanceUnavailable(said, hint=WHEN_IT_ANSWERS)

    def _end(self, error: SnowError, problem: PageFault) -> NoReturn:
        """End the run with ``error``; where another request has ended it meanwhile, raise that it did."""
        found = error if self._budget is None else self._budget.end(error, self._before)
        raise found from (problem if found is error else found.__cause__)


def is_there(answer: Answer) -> bool:
    """Whether ``answer`` is one that a dead instance, or its front end, would not give."""
    try:
        check_status(answer)
    except PageFault as problem:
        return not faults.get(problem.name).down
    return True


_HEALTH: Final = Request(
    "/api/now/table/sys_user",
    {
        "sysparm_fields": "sys_id",
        "sysparm_limit": "1",
        "sysparm_no_count": "true",
        "sysparm_suppress_pagination_header": "true",
    },
    "health",
    fresh=True,
)
