"""Files of attachments: adopted where they lie, fetched by threads where they do not, each by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from snow_assets.config import AttachmentsConfig, PullConfig
from snow_assets.errors import Cancelled, CredentialsError, HostError, LandingError, RequestFailed, SnowError
from snow_assets.pulls.attachments_names import path_of
from snow_assets.pulls.fetching import FAILURES_AT_ALL
from snow_assets.pulls.stores import PERSON, Store, sha256_of
from snow_assets.servicenow.account import rows
from snow_assets.servicenow.attachments import Described, described, download
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally

State = Literal["landed", "skipped", "failed", "deleted"]
FILES: Final = "files"
SIZE_ONLY: Final = "checked by its size only, not by SHA-256"
_AHEAD: Final = 4  # attachments waiting for each thread
_FATAL: Final = (CredentialsError, HostError, LandingError)
_LONGEST_REASON: Final = 400


@dataclass(frozen=True, slots=True)
class Attachment:
    """What became of one attachment. ``record``: its fields, as the instance sent them, and what was known before.

    ``path`` is relative to the attachments' folder. ``fetched``: bytes that came over the network now.
    """

    record: Mapping[str, Any]
    state: State
    reason: str = ""
    path: str = ""
    sha256: str = ""
    size: int | None = None
    fetched: int | None = None

    @property
    def sys_id(self) -> str:
        """Of the record."""
        return str(self.record["sys_id"])


class Files:
    """Adopts and fetches the files of one run. ``stopped`` is why the run was ended early, if it was."""

    def __init__(
        self, pull: PullConfig, wanted: AttachmentsConfig, client: Client, store: Store, *, verify: bool
    ) -> None:
        self.tally = Tally()
        self.stopped: SnowError | None = None
        self._wanted = wanted
        self._client = client
        self._store = store
        self._verify = verify
        self._workers = min(pull.max_workers, client.max_workers)
        self._failures = 0  # since a file was there
        self._lock = threading.Lock()
        self._end = threading.Event()

    def run(self, records: Iterable[Mapping[str, Any]], *, unsure: str = "") -> Iterator[Attachment]:
        """What becomes of each, in any order. ``unsure``: why what is not listed any more may be there all the same.

        Closing the iterator stops the threads; what landed stays.
        """
        most = self._workers * _AHEAD
        pending: set[Future[Attachment]] = set()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="attachment")
        try:
            for record in records:
                settled = self._settled(record, unsure)
                if settled is not None:
                    yield settled
                    continue
                pending.add(pool.submit(self._one, record))
                if len(pending) >= most:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            self._stop(Cancelled("the run was stopped"))
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _settled(self, record: Mapping[str, Any], unsure: str) -> Attachment | None:
        """What needs neither a look at the disk nor a request."""
        if not record["listed"]:
            return _gone(record, unsure)
        if record["before_state"] == "landed" and _same(record, self._described(record)):
            return None
        reason = self._too_much(record)
        return Attachment(record, "skipped", reason) if reason else None

    def _too_much(self, record: Mapping[str, Any]) -> str:
        """Why the file is not wanted, or ``""``."""
        wanted, kind, size = self._wanted, record["content_type"] or "", self._described(record).size
        if not wanted.takes(kind):
            return f"its content type {kind or '(none)'} is not among content_types"
        if wanted.max_size is None:
            return ""
        if size is None:
            return "its record does not say how large it is, and max_size is set"
        return f"larger than max_size, {wanted.max_size:,} bytes" if size > wanted.max_size else ""

    def _described(self, record: Mapping[str, Any]) -> Described:
        found = described(
            record["sys_id"], record["size_bytes"] or "", record["hash"] or "", record["content_type"] or ""
        )
        return found if self._wanted.check_hash else replace(found, sha256="")

    def _one(self, record: Mapping[str, Any]) -> Attachment:
        if self.stopped is not None:
            return Attachment(record, "failed", _line(f"not asked for: {self.stopped}"))
        try:
            found = self._adopted(record) or self._fetched(record)
        except SnowError as error:
            return self._failed(record, error)
        except OSError as error:  # of the disk
            return self._failed(record, self._of_disk(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: this attachment fails by name
            return self._failed(record, RequestFailed(type(error).__name__, fault="transport"))
        self._failures = 0
        return found

    def _adopted(self, record: Mapping[str, Any]) -> Attachment | None:
        """The attachment where its file lies there whole: by what the run before proved, or by a look at its bytes."""
        wanted = self._described(record)
        known = record["before_state"] == "landed" and _same(record, wanted)
        paths = [record["before_path"]] if known else []
        for path in (*paths, _path(record)):
            try:
                size = self._store.size(path)
            except FileNotFoundError:
                continue
            proven = str(record["before_hash"]) if known and path == record["before_path"] else wanted.sha256
            if size != wanted.size or not proven:
                continue
            trusted = known and path == record["before_path"] and not self._verify
            if trusted or sha256_of(self._store, path) == proven:
                return Attachment(record, "landed", _only_size(wanted), path, proven, size)
        return None

    def _fetched(self, record: Mapping[str, Any]) -> Attachment:
        """Fetch the file; it is committed once it is the one that the record describes."""
        wanted, path, tally = self._described(record), _path(record), Tally()
        scratch = self._store.scratch(path)
        try:
            procedure = download(wanted, scratch, self._client.policy, tally, self._end.is_set)
            file = self._client.run(procedure, tally=tally)
            self._store.replace(scratch, path)
        except RequestFailed as error:
            if error.fault == "not_found" and not self._is_there(wanted.sys_id, tally):
                return Attachment(record, "deleted", "gone before it could be fetched")
            raise
        finally:
            scratch.unlink(missing_ok=True)
            with self._lock:
                self.tally.add(tally)
        reason = "" if file.proven else _only_size(replace(wanted, sha256=""))
        return Attachment(record, "landed", reason, path, file.sha256, file.size, fetched=file.size)

    def _is_there(self, sys_id: str, tally: Tally) -> bool:
        question = rows(
            "sys_attachment", f"sys_id={sys_id}", (), "lookup", self._client.policy, tally, limit=1, fresh=True
        )
        return bool(self._client.run(question, tally=tally))

    def _failed(self, record: Mapping[str, Any], error: SnowError) -> Attachment:
        if not isinstance(error, Cancelled):
            with self._lock:
                self._failures += 1
                hopeless = self._failures >= FAILURES_AT_ALL or self._client.budget.ended_by(error)
            if isinstance(error, _FATAL) or hopeless:
                self._stop(error)
        return Attachment(record, "failed", _line(str(error)))

    def _stop(self, error: SnowError) -> None:
        with self._lock:
            if self.stopped is not None:
                return
            self.stopped = error
        self._end.set()
        self._client.cancel(error)

    def _of_disk(self, error: OSError) -> SnowError:
        message = f"cannot be used: {error.strerror or type(error).__name__}"
        if error.errno in PERSON:
            hint = "make room, or give the right to write; what landed stays"
            return LandingError(message, key="data", value=self._store.location, hint=hint)
        return RequestFailed(message, fault="transport", key="data", value=self._store.location)


def _path(record: Mapping[str, Any]) -> str:
    return f"{FILES}/{path_of(record['sys_id'], record['file_name'] or '')}"


def _same(record: Mapping[str, Any], wanted: Described) -> bool:
    """Whether the record still describes the file that landed before; without a hash, by size and last change."""
    if wanted.sha256:
        return bool(record["before_hash"] == wanted.sha256)
    unchanged = bool(record["before_sys_updated_on"] == (record["sys_updated_on"] or ""))
    return unchanged and bool(record["before_size"] == str(wanted.size))


def _gone(record: Mapping[str, Any], unsure: str) -> Attachment:
    """One that was known before and is not listed any more: its file stays."""
    size = int(record["size_bytes"]) if record["size_bytes"] else None
    state: State = record["before_state"] if unsure and record["before_state"] != "failed" else "deleted"
    already = record["before_state"] == "deleted"
    reason = record["before_reason"] if already else unsure or "deleted, or its row is not in the pull any more"
    return Attachment(record, state, reason, record["before_path"], record["before_hash"], size)


def _only_size(wanted: Described) -> str:
    return "" if wanted.sha256 else SIZE_ONLY


def _line(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
