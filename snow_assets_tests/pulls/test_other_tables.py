"""Tables that are not as most are: odd sys_ids, collations, dates, sizes, rights. All are pulled whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from snow_assets.errors import FixFirst, ForbiddenError
from snow_assets.pulls import Failed, make_plan, published, reconcile
from snow_assets.simulator import HiddenRows, Knobs, Simulator
from snow_assets_tests.pulls.conftest import Workbench

TABLE = "sys_user_role"


def digest(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


HEX = [digest(number) for number in range(90)]
SYS_IDS: dict[str, list[str]] = {
    "hex": HEX,
    "upper_case": [sys_id.upper() for sys_id in HEX],
    "mixed_case": [sys_id.upper() if at % 3 == 0 else sys_id for at, sys_id in enumerate(HEX)],
    "names_among_hex": [*HEX[:60], "global", "glide.maint", "admin", "ZZ_top", "_system", "0", "-1", "~", "zzz"],
    "legacy": [f"legacy-{number:04d}" for number in range(60)] + [f"OLD_{number}" for number in range(60)],
    "uuids": [f"{sys_id[:8]}-{sys_id[8:12]}-{sys_id[12:16]}-{sys_id[16:20]}-{sys_id[20:]}" for sys_id in HEX],
    "too_long_or_short": [sys_id[: at % 40] + "x" * (at % 7) + str(at) for at, sys_id in enumerate(HEX)],
    "unicode": [f"{word} {number}" for word in ("日本", "Zürich", "ß", "é", "İ") for number in range(20)],
    "punctuation": [f"{mark}{number}{mark}" for mark in "%&+@!*,;:/?#'\"\\$()[]{}|<>" for number in range(5)],
    "blanks": [*HEX[:40], *(f"{number} in the middle" for number in range(30))],
}
IMPOSSIBLE: dict[str, list[str]] = {
    "carets": [*HEX[:60], *(f"{number:02d}^x={number}" for number in range(40))],
    "scripts": [*HEX[:40], *(f"javascript:gs.x({number})" for number in range(40))],
    "operators": [*HEX[:40], *(f"={number}" for number in range(40))],
}


def role(sys_id: str, **values: str) -> dict[str, str]:
    return {"sys_id": sys_id, "name": f"role {sys_id}", "sys_created_on": "2026-03-01 08:00:00", **values}


def log(rows: int) -> list[dict[str, str]]:
    return [
        {
            "sys_id": digest(at),
            "sys_created_on": f"2026-03-{at // 30 + 1:02} 0{at % 3}:00:00",
            "sequence": f"{at:06x}",
            "message": "said",
        }
        for at in range(rows)
    ]


def pulled_whole(tmp_path: Path, sim: Simulator, table: str = TABLE, **config: Any) -> None:
    """Plan, slices, totals, dataset: what is published is what the table holds, each row once."""
    config = {"page_size": 10, "slice_rows": 30, "fields": None, **config}
    with sim.serve() as server:
        pulled = Workbench(server, tmp_path / "data", name="pulled", table=table, **config)
        totals = pulled.pull_all()
        truth = Counter(row["sys_id"] for row in sim.rows(table))
        plan = pulled.landing.read_plan(totals.plan)
        assert pulled.ids(plan) == truth
        assert (totals.landed, totals.hidden, totals.missing) == (len(truth), 0, 0)
        dataset = published(pulled.landing)
        assert dataset is not None
        assert dataset.rows == len(truth)


@pytest.mark.parametrize(
    ("kind", "collation"),
    [
        *((kind, "nocase") for kind in sorted(SYS_IDS)),
        *((kind, other) for kind in ("mixed_case", "names_among_hex", "punctuation") for other in ("binary", "words")),
    ],
)
def test_sys_ids_of_other_kinds(tmp_path: Path, kind: str, collation: Any) -> None:
    tables = {TABLE: [role(sys_id) for sys_id in SYS_IDS[kind]]}
    pulled_whole(tmp_path, Simulator(tables=tables, knobs=Knobs(collation=collation)))


@pytest.mark.parametrize("kind", ["carets", "scripts", "operators"])
def test_sys_ids_that_cannot_stand_in_a_query_are_refused_by_name_and_read_by_key(tmp_path: Path, kind: str) -> None:
    sim = Simulator(tables={TABLE: [role(sys_id) for sys_id in IMPOSSIBLE[kind]]})
    with sim.serve() as server:
        pulled = Workbench(server, tmp_path / "no", name="pulled", table=TABLE, fields=None, page_size=10)
        failed = [result.error for result in pulled.land(pulled.plan().plan) if isinstance(result, Failed)]
        named = [error for error in failed if isinstance(error, FixFirst)]
        assert "set key: [sys_id]" in str(named[0])
        assert named[0].value in IMPOSSIBLE[kind]
    pulled_whole(tmp_path, sim, key=("sys_id",))


@pytest.mark.parametrize("kind", ["mixed_case", "names_among_hex", "punctuation"])
@pytest.mark.parametrize("fault", [{"kind": "lost_rows", "rows": 3, "every": 3}, {"kind": "empty_page", "every": 4}])
def test_odd_sys_ids_beside_silent_losses(tmp_path: Path, kind: str, fault: dict[str, Any]) -> None:
    sim = Simulator(tables={TABLE: [role(sys_id) for sys_id in SYS_IDS[kind]]})
    with sim.serve() as server:
        pulled = Workbench(server, tmp_path / "data", name="pulled", table=TABLE, fields=None, page_size=10)
        plan = pulled.plan().plan
        server.faults.add({"narrow": False, "table": TABLE, "request": "list", **fault})
        assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
        totals = reconcile(plan, pulled.landing, pulled.pull)
        assert pulled.ids(plan) == Counter(SYS_IDS[kind])
        assert (totals.hidden, totals.missing) == (0, 0)


@pytest.mark.parametrize(
    "dates",
    [
        pytest.param(["", "2026-03-01 08:00:00"], id="empty"),
        pytest.param(["2099-01-01 00:00:00", "2026-03-01 08:00:00"], id="future"),
        pytest.param(["2026-03-01 08:00:00"], id="all in one second"),
        pytest.param(["1970-01-01 00:00:00", "0000-00-00 00:00:00", "3000-12-31 23:59:59", ""], id="odd"),
    ],
)
def test_dates_decide_nothing(tmp_path: Path, dates: list[str]) -> None:
    rows = [role(sys_id, sys_created_on=dates[at % len(dates)]) for at, sys_id in enumerate(HEX)]
    pulled_whole(tmp_path, Simulator(tables={TABLE: rows}))


def test_a_table_without_dates(tmp_path: Path) -> None:
    rows = [{"sys_id": sys_id, "ci_id": digest(at % 7), "service_id": "global"} for at, sys_id in enumerate(HEX)]
    pulled_whole(tmp_path, Simulator(tables={"svc_ci_assoc": rows}), "svc_ci_assoc")


@pytest.mark.parametrize("rows", [0, 1, 2, 10, 11, 30, 31])
def test_sizes_around_page_and_slice(tmp_path: Path, rows: int) -> None:
    pulled_whole(tmp_path, Simulator(tables={TABLE: [role(sys_id) for sys_id in HEX[:rows]]}))


def test_ten_thousand_rows_in_one_prefix(tmp_path: Path) -> None:
    rows = [{"sys_id": f"a1{digest(number)[2:]}", "name": str(number)} for number in range(10_000)]
    pulled_whole(tmp_path, Simulator(tables={TABLE: rows}), page_size=1000, slice_rows=500, fields=("name",))


@pytest.mark.parametrize("key", [None, ("sys_id",), ("sys_created_on", "sequence")])
def test_a_rotated_table(tmp_path: Path, key: tuple[str, ...] | None) -> None:
    """By sys_id as any table; by a key, where the order of sys_ids over all shards is too expensive."""
    sim = Simulator(tables={"syslog": log(100)})
    pulled_whole(tmp_path, sim, "syslog", key=key, query="sys_created_on>=2000-01-01 00:00:00")


@pytest.mark.parametrize("key", [None, ("sys_created_on", "sequence")])
def test_a_shard_that_goes_while_the_table_is_read(tmp_path: Path, key: tuple[str, ...] | None) -> None:
    sim = Simulator(tables={"syslog": log(240)})
    with sim.serve() as server:
        pulled = Workbench(
            server, tmp_path / "data", name="log", table="syslog", fields=None, key=key, page_size=20, slice_rows=240
        )
        plan = pulled.plan().plan
        stays = {row["sys_id"] for row in sorted(sim.rows("syslog"), key=lambda row: row["sys_created_on"])[60:]}
        pages = iter(range(1_000))

        def watch(asked: Any) -> None:
            if asked.path.endswith("syslog") and next(pages) == 4:
                sim.rotate("syslog")

        sim.watchers.append(watch)
        assert [result.error for result in pulled.land(plan) if isinstance(result, Failed)] == []
        totals = reconcile(plan, pulled.landing, pulled.pull)
        found = pulled.ids(plan)
        assert stays <= set(found)
        assert set(found.values()) == {1}
        assert totals.missing == 0


@pytest.mark.parametrize("key", [None, ("name",)])
@pytest.mark.parametrize("acl", [{"sys_id", "name"}, {"*"}])
def test_refused_ranges_and_sorts_name_the_right_to_grant(
    tmp_path: Path, acl: set[str], key: tuple[str, ...] | None
) -> None:
    sim = Simulator(tables={TABLE: [role(sys_id) for sys_id in HEX]})
    sim.knobs.query_acls[TABLE] = acl
    with sim.serve() as server:
        pulled = Workbench(
            server, tmp_path / "data", name="pulled", table=TABLE, fields=None, page_size=10, slice_rows=30, key=key
        )
        with pulled.client() as client:
            try:
                plan = make_plan(pulled.pull, client, pulled.landing).plan
            except ForbiddenError as error:
                refused: Any = error
            else:
                [failed] = [result for result in pulled.land(plan) if isinstance(result, Failed)]
                refused = failed.error
        assert isinstance(refused, FixFirst)
        line = str(refused)
        assert "query_range" in line
        assert TABLE in line
        assert ("name" if key else "sys_id") in line.partition("query_range")[2]
        assert published(pulled.landing) is None


def test_a_last_row_that_no_page_shows_ends_the_slice_by_name(tmp_path: Path) -> None:
    """The narrow look behind the last page shows it, pages never do: no endless loop, and no silent loss."""
    sim = Simulator(tables={TABLE: [role(sys_id) for sys_id in HEX]})
    with sim.serve() as server:
        pulled = Workbench(server, tmp_path / "data", name="pulled", table=TABLE, fields=None, page_size=50)
        plan = pulled.plan().plan
        server.faults.add({"kind": "lost_rows", "lost": max(HEX), "narrow": False})
        [failed] = [result.error for result in pulled.land(plan) if isinstance(result, Failed)]
        assert "did not settle" in str(failed)


def test_hidden_rows_among_odd_sys_ids_are_numbered(tmp_path: Path) -> None:
    ids = SYS_IDS["mixed_case"]
    sim = Simulator(tables={TABLE: [role(sys_id) for sys_id in ids]})
    sim.knobs.hidden_rows.append(HiddenRows(TABLE, sys_ids=frozenset(ids[::5])))
    with sim.serve() as server:
        pulled = Workbench(
            server, tmp_path / "data", name="pulled", table=TABLE, fields=None, page_size=10, slice_rows=30
        )
        totals = pulled.pull_all()
        plan = pulled.landing.read_plan(totals.plan)
        assert pulled.ids(plan) == Counter(set(ids) - set(ids[::5]))
        assert (totals.hidden, totals.missing) == (len(ids[::5]), 0)
