"""The one exception tree of snow_assets.

::

    SnowError                    every failure; has ``key``, ``value``, ``hint`` and ``exit_code``
    ├── FixFirst                 exit code 2: something must be fixed before another try can succeed
    │   ├── ConfigError          pulls.yaml, the environment, a command-line argument
    │   ├── CredentialsError     the instance refused who we say we are
    │   ├── ForbiddenError       403: the account lacks a right, which is named
    │   ├── WriteRefused         the instance refused one record: an ACL, a data policy, a business rule
    │   ├── UnknownTableError    the instance has no such table
    │   ├── QueryError           the encoded query cannot be read, or is not honoured
    │   ├── HostError            the host name does not resolve
    │   ├── LandingError         the data folder or object store cannot be used
    │   ├── SourceError          the rows of an import's source cannot be read
    │   ├── TargetRefused        the database of a target refuses an import set: constraints, rights, a table
    │   ├── FingerprintError     the files belong to another plan
    │   └── PublishRefused       rows fell, the hidden share rose or frozen columns changed; it says how to accept
    └── RunAgain                 exit code 1: not finished, running it again may finish it
        ├── InstanceUnavailable  refused, timed out, hibernating, a wait beyond ``max_wait``
        ├── RequestFailed        one request failed for good after its retries; the page is named
        ├── WriteUncertain       it is not known whether a record was written
        ├── SliceFailed          a slice could not be landed or proven
        ├── FilesFailed          some attachments could not be fetched; each is named
        ├── PlanIncomplete       slices are missing or a difference is unexplained
        ├── LeaseHeld            a live run of the same pull
        ├── TargetBusy           the target's database is held by somebody else
        ├── LoadUnfinished       an import whose load is not finished, or is being worked on
        ├── TransformFailed      SQL or Python of an import failed on a set, which stays as it was staged
        ├── ImportFailed         import sets failed, or their counters do not add up; each is named
        └── Cancelled            stopped because another part of the run failed, or by a signal

Messages never hold a secret, nor the body of an answer.
"""

from __future__ import annotations

from typing import ClassVar


class SnowError(Exception):
    """A failure that names its ``key``, the ``value`` found there, and the way out (``hint``).

    ``str(error)`` is one line: ``key 'value': message (hint)``, parts that are empty left out.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, key: str = "", value: object = "", hint: str = "") -> None:
        self.message = message
        self.key = key
        self.value = str(value)
        self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        subject = " ".join(part for part in (self.key, repr(self.value) if self.value else "") if part)
        line = f"{subject}: {self.message}" if subject else self.message
        if self.hint:
            line = f"{line} ({self.hint})"
        return " ".join(line.split())

    def as_dict(self) -> dict[str, str]:
        """``{key, value, message, hint}``: what ``--json`` prints under ``error``."""
        return {"key": self.key, "value": self.value, "message": self.message, "hint": self.hint}


class FixFirst(SnowError):
    """Something must be fixed first; another try as things are will fail again."""

    exit_code: ClassVar[int] = 2


class ConfigError(FixFirst):
    """A key of ``pulls.yaml``, an environment variable or an argument is missing or wrong."""


class CredentialsError(FixFirst):
    """The instance refused the credentials, or none were given."""


class ForbiddenError(FixFirst):
    """The instance answered 403; the message names the right that is missing."""


class WriteRefused(FixFirst):
    """The instance refused to write one record (an ACL, a data policy, a business rule), in its own words."""


class UnknownTableError(FixFirst):
    """The instance has no such table, or does not let web services see it."""


class QueryError(FixFirst):
    """The encoded query cannot be read whole, or the instance does not honour it."""


class HostError(FixFirst):
    """The instance's host name does not resolve, or its address is not one we may talk to."""


class LandingError(FixFirst):
    """The landing cannot be read or written."""


class SourceError(FixFirst):
    """The rows of an import's source cannot be read; the message names the file and line, or the database."""


class TargetRefused(FixFirst):
    """A target's database refuses an import set, of which nothing is applied; the message holds its words."""


class FingerprintError(FixFirst):
    """Files of another instance, account, query, field list or display mode lie in the landing."""


class PublishRefused(FixFirst):
    """A plan is not published by itself: rows fell, the hidden share rose, or columns changed that are frozen."""


class RunAgain(SnowError):
    """Not finished; what landed stays, and running it again may finish it."""

    exit_code: ClassVar[int] = 1


class InstanceUnavailable(RunAgain):
    """The instance refuses connections, times out, hibernates, or asks for too long a wait."""


class RequestFailed(RunAgain):
    """One request failed after its retries. ``fault`` is the name in the table of faults."""

    def __init__(self, message: str, *, fault: str, key: str = "", value: object = "", hint: str = "") -> None:
        super().__init__(message, key=key, value=value, hint=hint)
        self.fault = fault


class WriteUncertain(RunAgain):
    """Nobody can say whether a record was written; it was not sent again."""


class SliceFailed(RunAgain):
    """A slice could not be landed or proven; the message names its range and cause."""


class FilesFailed(RunAgain):
    """Some attachments could not be fetched. The others are there, and a table names each with its reason."""


class PlanIncomplete(RunAgain):
    """Slices of the plan are missing, or a difference could not be explained."""


class LeaseHeld(RunAgain):
    """A live run holds the lease of the same pull."""


class TargetBusy(RunAgain):
    """Somebody else holds the database of a target; nothing was written."""


class LoadUnfinished(RunAgain):
    """A load of the import is not finished, or a live run works on it: loads of one import never overlap."""


class TransformFailed(RunAgain):
    """SQL or Python of an import failed on an import set; the set stays as it was staged."""


class ImportFailed(RunAgain):
    """Import sets failed, or their counters do not add up to the staged rows; each is named."""


class Cancelled(RunAgain):
    """Stopped early: another part of the run failed for good, or a signal came."""
