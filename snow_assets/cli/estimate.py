"""How much a pull would ask for and how long it may take, from a count and a sample of rows."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snow_assets.config import PullConfig
    from snow_assets.pulls import Preview
    from snow_assets.servicenow.client import Client

SAMPLE_ROWS = 100
AT_A_TIME = 8  # requests in flight that most instances take without slowing down
SWEEP_REQUESTS = 10  # of a keyed table, however small
WIDE = 10_000  # rows of a sweep's page
PLAN_REQUESTS = 8  # clock, account, columns, probe, count
SECONDS_PER_BYTE = 10e-9  # of a core, to parse and to write
RUN_SECONDS = 6.0  # the start of three runs


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a pull would cost. ``None`` where the instance does not count; ``bytes`` is JSON, ``seconds`` wall time."""

    counted: int | None
    columns: int
    slice_rows: int
    slices: int | None
    requests: int | None
    bytes: int | None
    seconds: float | None
    at_a_time: int

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def estimate(preview: Preview, pull: PullConfig, client: Client) -> Estimate:
    """Estimate a pull. Asks for up to 101 rows, to see how large and how slow they are."""
    slice_rows = preview.slice_rows(pull)
    at_a_time = min(pull.max_workers, client.max_workers, AT_A_TIME)
    counted = preview.counted
    if counted is None:
        return Estimate(None, len(preview.fields), slice_rows, None, None, None, None, at_a_time)
    slices = max(1, -(-counted // slice_rows))
    pages = max(slices, -(-counted // pull.page_size)) + 1
    boundaries = 0 if slices == 1 else slices + (1 if slices <= 4 else 4 if slices <= 16 else 16)
    if pull.key:  # one page after the other, and two sweeps of the keys
        at_a_time, boundaries = 1, SWEEP_REQUESTS + 2 * (counted // WIDE)
    row_bytes, start_seconds, row_seconds = _sample(preview, pull, client)
    page_rows = min(pull.page_size, max(1, counted))
    seconds = (pages * (start_seconds + row_seconds * page_rows) + boundaries * start_seconds) / at_a_time
    cpu_seconds = row_bytes * counted * SECONDS_PER_BYTE / (os.cpu_count() or 1)
    return Estimate(
        counted=counted,
        columns=len(preview.fields),
        slice_rows=slice_rows,
        slices=slices,
        requests=PLAN_REQUESTS + boundaries + pages,
        bytes=round(row_bytes * counted),
        seconds=round(RUN_SECONDS + PLAN_REQUESTS * start_seconds + seconds + cpu_seconds, 1),
        at_a_time=at_a_time,
    )


def _sample(preview: Preview, pull: PullConfig, client: Client) -> tuple[float, float, float]:
    """Bytes of a row, seconds of a request for one row, and seconds of each further row."""
    size_one, rows_one, seconds_one = _ask(preview, pull, client, 1)
    size, rows, seconds = _ask(preview, pull, client, SAMPLE_ROWS)
    row_seconds = max(0.0, seconds - seconds_one) / max(1, rows - rows_one)
    return (size / rows if rows else float(size_one)), seconds_one, row_seconds


def _ask(preview: Preview, pull: PullConfig, client: Client, limit: int) -> tuple[int, int, float]:
    """Bytes, rows and seconds of one page of ``limit`` rows."""
    from snow_assets.servicenow.exchange import Answer, Request, Tally
    from snow_assets.servicenow.pages import DictDecoder, check_page
    from snow_assets.servicenow.retry import fetch

    params = {
        "sysparm_query": preview.query.where(),
        "sysparm_fields": ",".join(preview.fields),
        "sysparm_display_value": pull.display_value,
        "sysparm_limit": str(limit),
        "sysparm_no_count": "true",
        "sysparm_suppress_pagination_header": "true",
    }
    request = Request(f"/api/now/table/{pull.table}", params, "probe")

    def check(asked: Request, answer: Answer) -> tuple[int, int, float]:
        page = check_page(answer, asked, DictDecoder(identified=False))
        return len(answer.body), len(page.records), answer.seconds

    return client.run(fetch(request, partial(check, request), client.policy, Tally()))


def human_bytes(count: int | None) -> str:
    """``12.3 MB``."""
    if count is None:
        return "unknown"
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"


def human_seconds(seconds: float | None) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "1 s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
