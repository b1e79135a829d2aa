from __future__ import annotations

import heapq
import random
import threading
from dataclasses import dataclass

import pytest

from snow_assets.errors import Cancelled
from snow_assets.servicenow.exchange import Answer
from snow_assets.servicenow.governor import Governor, governor_of
from snow_assets.servicenow.ramp import Ramp

GOOD = Answer(200, {}, b"x" * 1000, seconds=0.1)


@dataclass
class Played:
    """What came of a number of requests against an instance in virtual time."""

    efficiency: float  # of what the instance could have served
    refused: int
    limits: list[int]
    ramp: Ramp


def play(capacity: int, requests: int, *, refuses: bool, workers: int = 16, seed: int = 1) -> Played:
    """An instance that serves ``capacity`` requests at once, in 0.14 to 0.26 s; it queues or refuses the others."""
    rng = random.Random(seed)
    ramp = Ramp(workers)
    ends: list[tuple[float, int, float, bool]] = []
    queue: list[tuple[int, float]] = []
    now, number, in_flight, served, answered, refused = 0.0, 0, 0, 0, 0, 0
    limits = []
    while answered < requests:
        while in_flight < ramp.limit:
            in_flight, number = in_flight + 1, number + 1
            if served < capacity:
                served += 1
                heapq.heappush(ends, (now + rng.uniform(0.14, 0.26), number, now, True))
            elif refuses:
                heapq.heappush(ends, (now + 0.01, number, now, False))
            else:
                queue.append((number, now))
        now, _, started, good = heapq.heappop(ends)
        if good:
            served, answered = served - 1, answered + 1
            ramp.finished(now, work=1e6, seconds=now - started, queued=0.0, in_flight=in_flight)
            if queue:
                waiting, since = queue.pop(0)
                served += 1
                heapq.heappush(ends, (now + rng.uniform(0.14, 0.26), waiting, since, True))
        else:
            refused += 1
            ramp.overloaded(now, started=started, full_queue=True, why="429")
        in_flight -= 1
        limits.append(ramp.limit)
    return Played(requests * 0.2 / min(capacity, workers) / now, refused, limits, ramp)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capacity", [2, 6, 8])
def test_an_instance_that_refuses_beyond_its_capacity_is_used_well_and_rarely_bothered(
    capacity: int, seed: int
) -> None:
    played = play(capacity, 2000, refuses=True, seed=seed)
    assert played.efficiency >= 0.9
    assert played.refused <= 20


@pytest.mark.parametrize("seed", range(5))
def test_an_instance_that_bears_more_gets_more(seed: int) -> None:
    played = play(100, 1000, refuses=False, seed=seed)
    assert max(played.limits) == 16
    assert played.ramp.limit >= 12


@pytest.mark.parametrize("seed", range(5))
def test_where_more_requests_gain_nothing_few_are_kept_in_flight(seed: int) -> None:
    limits = play(4, 1000, refuses=False, seed=seed).limits
    assert sum(limits) / len(limits) < 8


def test_it_never_goes_above_its_bound() -> None:
    assert max(play(100, 500, refuses=False, workers=3).limits) == 3
    assert max(play(100, 100, refuses=False, workers=1).limits) == 1
    ramp = play(100, 1000, refuses=False).ramp
    ramp.bound(5)
    assert ramp.limit == 5


def test_one_overload_cuts_once_for_all_that_were_in_flight() -> None:
    ramp = play(100, 1000, refuses=False).ramp
    before = ramp.limit
    for _ in range(before):
        ramp.overloaded(1e6, started=1e6 - 1, full_queue=False, why="status 503")
    assert ramp.limit == before // 2
    ramp.overloaded(1e6 + 2, started=1e6 + 1, full_queue=False, why="status 503")
    assert ramp.limit == before // 4
    assert ramp.cuts == 2


def test_after_an_outage_it_grows_back() -> None:
    ramp = play(100, 1000, refuses=False).ramp
    before, now = ramp.limit, 1e6
    for _ in range(6):
        now += 2
        ramp.overloaded(now, started=now - 1, full_queue=False, why="status 503")
    assert ramp.limit == 1
    for _ in range(400):
        now += 1
        ramp.finished(now, work=1e6, seconds=0.5, queued=0.0, in_flight=ramp.limit)
    assert ramp.limit >= before - 1


def test_waiting_in_the_instances_queue_steps_back() -> None:
    ramp = play(100, 1000, refuses=False).ramp
    before, now = ramp.limit, 1e6
    for _ in range(before + 1):
        now += 1
        ramp.finished(now, work=1e6, seconds=0.5, queued=0.4, in_flight=ramp.limit)
    assert ramp.limit == before - 1
    assert ramp.history[-1][2] == "the instance queues"


def test_idle_threads_teach_nothing() -> None:
    ramp = Ramp(16)
    for now in range(100):
        # Faster and faster, but never as many at once as the limit allows.
        ramp.finished(float(now), work=1e6, seconds=0.5 / (now + 1), queued=0.0, in_flight=1)
        assert ramp.limit == 2


def test_threads_wait_for_a_free_place() -> None:
    governor, stop = Governor(1), threading.Event()
    governor.acquire(stop)
    entered = threading.Event()

    def second() -> None:
        governor.acquire(stop)
        entered.set()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert not entered.wait(0.1)
    governor.release(GOOD)
    assert entered.wait(10)
    thread.join()


def test_one_pause_holds_everybody_and_does_not_add_up() -> None:
    governor, stop = Governor(4), threading.Event()
    for _ in range(3):
        governor.pause(0.3)
    _, paused = governor.acquire(stop)
    assert paused > 0.2
    snapshot = governor.snapshot()
    assert snapshot["pauses"] == 1
    assert snapshot["paused_seconds"] < 0.5


def test_whoever_waits_can_be_stopped() -> None:
    governor, stop = Governor(1), threading.Event()
    governor.acquire(stop)
    governor.pause(3600)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            governor.acquire(stop)
        except Cancelled as error:
            errors.append(error)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    governor.wake()
    for thread in threads:
        thread.join(10)
    assert len(errors) == 3


def test_clients_of_one_instance_share_a_governor_and_the_lowest_bound() -> None:
    one = governor_of("https://a.example", 8)
    assert governor_of("https://a.example", 4) is one
    assert governor_of("https://b.example", 4) is not one
    assert one.snapshot()["max_workers"] == 4
    del one
    assert governor_of("https://a.example", 8).snapshot()["max_workers"] == 8


@pytest.mark.parametrize(
    ("answer", "cuts"),
    [
        (Answer(429, {}, b""), 1),
        (Answer(503, {}, b""), 1),
        (Answer(0, {}, b"", fault="timeout"), 1),
        (Answer(404, {}, b""), 0),
        (GOOD, 0),
    ],
)
def test_what_counts_as_an_overload(answer: Answer, cuts: int) -> None:
    governor, stop = Governor(4), threading.Event()
    governor.acquire(stop)
    governor.release(answer)
    assert governor.snapshot()["cuts"] == cuts


@pytest.mark.parametrize("seed", range(5))
def test_a_small_pull_has_many_requests_in_flight_before_it_ends(seed: int) -> None:
    assert play(100, 40, refuses=False, seed=seed).efficiency >= 0.3  # of 16 at a time; one after another is 0.06


@pytest.mark.parametrize("seed", range(5))
def test_an_instance_that_saturates_at_three_is_not_crowded_for_long(seed: int) -> None:
    limits = play(3, 1000, refuses=False, seed=seed).limits
    assert sum(limits[100:]) / len(limits[100:]) < 8


def test_an_outage_is_paused_for_once_and_ends_when_the_instance_is_back() -> None:
    governor, stop = Governor(4), threading.Event()
    governor.pause(3600, "outage")
    governor.acquire(stop, health=True)  # the one request that may pass
    governor.release(GOOD)
    governor.resume()
    governor.acquire(stop)
    snapshot = governor.snapshot()
    assert snapshot["pauses"] == 1
    assert snapshot["paused_seconds"] < 3600
    assert [why for *_, why in snapshot["paused"]] == ["outage"]


def test_a_rate_limit_is_not_cut_short_by_the_end_of_an_outage() -> None:
    governor = Governor(4)
    governor.pause(3600)
    governor.resume()
    assert governor.snapshot()["paused"][0][2] == "rate_limit"
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        governor.acquire(stop)
