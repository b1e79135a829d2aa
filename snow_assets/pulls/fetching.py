"""Landing slices: threads take slices from a queue, read and prove each, and commit its file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from queue import Empty, Queue, SimpleQueue

from snow_assets.config import PullConfig
from snow_assets.errors import Cancelled, FixFirst, InstanceUnavailable, LandingError, SliceFailed, SnowError
from snow_assets.pulls.costs import note_cost
from snow_assets.pulls.governed import governed
from snow_assets.pulls.landing import LandedFile, Landing, next_attempt
from snow_assets.pulls.ledger import Difference, Ledger
from snow_assets.pulls.plan import Plan, Slice
from snow_assets.pulls.progress import Progress, report
from snow_assets.pulls.sight import is_plain, look_again
from snow_assets.pulls.stores import PERSON
from snow_assets.pulls.writer import SliceWriter
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.decoding import StructDecoder
from snow_assets.servicenow.exchange import Page, Procedure, Tally
from snow_assets.servicenow.keyed_proof import read_keyed
from snow_assets.servicenow.proof import RangeProof, read_range
from snow_assets.servicenow.query import EncodedQuery
from snow_assets.servicenow.reading import Reading

FAILURES_AT_ALL = 32  # slices that fail while none lands end the run; so does the client's budget of retries


@dataclass(frozen=True, slots=True)
class Landed:
    """A slice whose file lies in the landing. ``adopted``: it lay there before, and nothing was asked for."""

    slice: Slice
    file: LandedFile
    uri: str
    adopted: bool

    @property
    def ledger(self) -> Ledger:
        """What the slice knows of itself."""
        return self.file.ledger


@dataclass(frozen=True, slots=True)
class Failed:
    """A slice that did not land, and why."""

    slice: Slice
    error: SnowError


def reading_of(plan: Plan, pull: PullConfig, client: Client, decoder: StructDecoder) -> Reading:
    """What is asked of every range of a plan."""
    return Reading(
        table=plan.table,
        query=EncodedQuery.parse(plan.query),
        fields=plan.fields,
        display_value=plan.display_value,
        page_size=plan.page_size,
        decoder=decoder,
        policy=client.policy,
        unreadable_rows=pull.unreadable_rows,
        probed=plan.probed,
    )


def land_slices(
    plan: Plan, slices: Sequence[Slice], pull: PullConfig, client: Client, landing: Landing
) -> Generator[Landed | Failed, None, None]:
    """Land each of ``slices``; yields each as it is done, the adopted ones first.

    A slice that has landed is adopted. One that cannot be landed is yielded as ``Failed`` and the others go on, unless
    the cause is fatal for all (credentials, rights, a dead instance): then what is queued is cancelled at once.
    Closing the generator stops the threads; what landed stays.
    """
    files = landing.slice_files(plan)
    work = _Work(plan, pull, client, landing, files)
    waiting: list[Slice] = []
    for piece in slices:
        found = landing.landed(plan, piece, files.get(piece.offset, []))
        if found is None:
            waiting.append(piece)
            continue
        work.progress.adopt(found.ledger.landed)
        yield Landed(piece, found, landing.store.uri(found.path), adopted=True)
    work.progress.start(slices, plan)
    if waiting:
        with governed(landing, plan, client.governor):
            yield from work.run(waiting)


@dataclass(slots=True)
class _Counters:
    """Figures for progress, shared by the threads."""

    pull: str
    plan_id: str
    slices: int = 0
    expected: int | None = None
    rows: int = 0
    landed: int = 0
    failed: int = 0
    requests: int = 0
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, slices: Sequence[Slice], plan: Plan) -> None:
        rows = [piece.rows for piece in slices]
        self.slices = len(slices)
        whole = len(slices) == len(plan.slices)
        self.expected = plan.counted if whole else None if None in rows else sum(row or 0 for row in rows)
        self.tell()

    def adopt(self, rows: int) -> None:
        self.landed += 1
        self.rows += rows

    def add(self, *, rows: int = 0, landed: int = 0, failed: int = 0, tally: Tally | None = None) -> None:
        with self.lock:
            self.rows += rows
            self.landed += landed
            self.failed += failed
            if tally is not None:
                self.requests += tally.requests
                self.retries += tally.retries
            self.tell()

    def tell(self) -> None:
        report(
            Progress(
                self.pull,
                self.plan_id,
                self.rows,
                self.expected,
                self.slices,
                self.landed,
                self.failed,
                self.requests,
                self.retries,
            )
        )


class _Work:
    """One call of ``land_slices``: its threads and what they share."""

    def __init__(
        self, plan: Plan, pull: PullConfig, client: Client, landing: Landing, files: dict[int, list[str]]
    ) -> None:
        self.files = files
        self.plan = plan
        self.pull = pull
        self.client = client
        self.landing = landing
        self.decoder = StructDecoder(plan.fields, plan.key)
        self.reading = reading_of(plan, pull, client, self.decoder)
        self.progress = _Counters(plan.pull, plan.plan_id)
        self.queue: SimpleQueue[Slice] = SimpleQueue()
        self.results: Queue[Landed | Failed | None] = Queue()
        self.stopped: SnowError | None = None
        self.failures = 0  # since a slice landed
        self.lock = threading.Lock()

    def run(self, slices: Sequence[Slice]) -> Iterator[Landed | Failed]:
        for piece in slices:
            self.queue.put(piece)
        count = min(self.pull.max_workers, self.client.max_workers, len(slices))
        threads = [
            threading.Thread(target=self._worker, name=f"slice-{number}", daemon=True) for number in range(count)
        ]
        for thread in threads:
            thread.start()
        try:
            running = count
            while running:
                result = self.results.get()
                if result is None:
                    running -= 1
                else:
                    yield result
        except BaseException:
            self._stop(Cancelled("the run was stopped"))
            raise
        finally:
            for thread in threads:
                thread.join()

    def _worker(self) -> None:
        try:
            while True:
                try:
                    piece = self.queue.get_nowait()
                except Empty:
                    return
                self.results.put(self._one(piece))
        finally:
            self.results.put(None)

    def _one(self, piece: Slice) -> Landed | Failed:
        if self.stopped is not None:
            return self._failed(piece, Cancelled(f"not asked for: {self.stopped}", key="slice", value=piece.name))
        try:
            landed = self._land(piece)
        except SnowError as error:
            return self._failed(piece, error)
        except BaseException as error:  # noqa: BLE001 - a fault of ours or of the disk: the slice fails by name
            return self._failed(piece, _as_ours(error, piece, self.landing), cause=error)
        self.failures = 0
        self.progress.add(landed=1)
        return landed

    def _failed(self, piece: Slice, error: SnowError, cause: BaseException | None = None) -> Failed:
        error.__cause__ = error.__cause__ or cause
        self.progress.add(failed=1)
        if not isinstance(error, Cancelled):
            with self.lock:
                self.failures += 1
                hopeless = self.failures >= FAILURES_AT_ALL or self.client.budget.ended_by(error)
            stops = isinstance(error, FixFirst) or hopeless
            if stops and not self._stop(error) and isinstance(error, InstanceUnavailable):
                # Another slice found the same outage in the same moment: it is told once.
                error = Cancelled(f"not asked for: {self.stopped}", key="slice", value=piece.name)
        return Failed(piece, error)

    def _stop(self, error: SnowError) -> bool:
        """Cancel what is queued because of ``error``; whether it was the first."""
        with self.lock:
            if self.stopped is not None:
                return False
            self.stopped = error
        self.client.cancel(error)
        return True

    def _land(self, piece: Slice) -> Landed:
        started = datetime.now(UTC)
        clock = time.monotonic()
        tally = Tally()
        attempt = next_attempt(self.files.get(piece.offset, []))
        seen = _Seen(self.progress, tally)
        with SliceWriter(self.landing, self.plan, piece, attempt, self.decoder) as writer:
            try:
                proof = self.client.run(self._read(piece, tally), seen.then(writer.add), tally)
                if not is_plain(piece, proof, seen.ids[:1]):
                    unseen = self.client.run(look_again(self.plan, self.reading, tally), tally=tally)
                    proof = replace(proof, causes=(*proof.causes, *unseen))
            except BaseException:
                seen.take_back()
                note_cost(self.landing, self.plan, piece, tally)
                raise
            timing = (started, round(time.monotonic() - clock, 3))
            ledger = self._ledger(piece, writer, proof, tally, timing)
            path = writer.commit(ledger)
        seen.finish()
        file = LandedFile(path, self.landing.store.size(path), ledger)
        return Landed(piece, file, self.landing.store.uri(path), adopted=False)

    def _read(self, piece: Slice, tally: Tally) -> Procedure[RangeProof]:
        """The procedure that reads the slice: a range of sys_ids, or the whole table by a key of its own."""
        if self.plan.key:
            return read_keyed(self.reading, self.plan.key, tally)
        return read_range(self.reading, piece.lo, piece.hi, tally)

    def _ledger(
        self, piece: Slice, writer: SliceWriter, proof: RangeProof, tally: Tally, timing: tuple[datetime, float]
    ) -> Ledger:
        if proof.landed != writer.rows:
            raise SliceFailed(f"{proof.landed} rows read, {writer.rows} written", key="slice", value=piece.name)
        if (proof.lo, proof.hi) != (piece.lo, piece.hi):
            raise SliceFailed("another range was read than planned", key="slice", value=piece.name)
        first, last = writer.bounds()
        return Ledger(
            plan_id=self.plan.plan_id,
            offset=piece.offset,
            lo=piece.lo,
            hi=piece.hi,
            fingerprint=self.plan.fingerprint,
            attempt=writer.attempt,
            counted=proof.counted,
            landed=proof.landed,
            hidden=proof.hidden,
            pages=proof.pages,
            digest=writer.digest,
            first=first,
            last=last,
            started=timing[0].isoformat(timespec="seconds"),
            seconds=timing[1],
            tally=tally,
            differences=tuple(
                Difference(cause.name, cause.rows, cause.evidence, cause.sys_ids) for cause in proof.causes
            ),
        )


def _as_ours(error: BaseException, piece: Slice, landing: Landing) -> SnowError:
    """An error of ours for one that is not: the disk's own words, no others'."""
    if isinstance(error, OSError) and error.errno in PERSON:
        hint = "make room, or give the right to write; what landed stays"
        return LandingError(error.strerror or "cannot be written", key="data", value=landing.location, hint=hint)
    detail = f"{type(error).__name__}: {error}" if isinstance(error, OSError) else type(error).__name__
    return SliceFailed(detail, key="slice", value=piece.name)


class _Seen:
    """Reports rows and requests of one slice as they come, and takes the rows back if the slice fails."""

    def __init__(self, progress: _Counters, tally: Tally) -> None:
        self.progress = progress
        self.tally = tally
        self.rows = 0
        self.ids: list[str] = []  # the first one, and some more
        self.told = (0, 0)

    def then(self, consume: Callable[[Page], None]) -> Callable[[Page], None]:
        def deliver(page: Page) -> None:
            consume(page)
            self.rows += len(page.ids)
            self.ids += [page.ids[0], page.ids[-1]] if page.ids else []
            self.progress.add(rows=len(page.ids), tally=self._since())

        return deliver

    def take_back(self) -> None:
        self.progress.add(rows=-self.rows, tally=self._since())

    def finish(self) -> None:
        self.progress.add(tally=self._since())

    def _since(self) -> Tally:
        before, self.told = self.told, (self.tally.requests, self.tally.retries)
        return Tally(requests=self.told[0] - before[0], retries=self.told[1] - before[1])
