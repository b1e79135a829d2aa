"""Paging, headers, order and errors of the Table API."""

from __future__ import annotations

from collections import Counter

import pytest

from snow_assets.simulator import HiddenRows, Knobs, Simulator, SimulatorServer

from .conftest import NOON, Ask, ask, small_tables


def links(header: str) -> dict[str, str]:
    """Relation to address."""
    return {part.split(">;rel=")[1].strip('"'): part.split(">;rel=")[0].lstrip("<") for part in header.split(",<")}


def test_links_of_a_middle_page(get: Ask, small: SimulatorServer) -> None:
    got = get("table/incident", sysparm_query="active=true^ORDERBYnumber", sysparm_fields="sys_id,number",
              sysparm_limit=2, sysparm_offset=2)  # fmt: skip
    base = (
        f"{small.url}/api/now/table/incident?sysparm_query=active%3Dtrue%5EORDERBYnumber&sysparm_fields=sys_id,number"
    )
    assert links(got.headers["Link"]) == {
        "first": f"{base}&sysparm_offset=0&sysparm_limit=2",
        "prev": f"{base}&sysparm_offset=0&sysparm_limit=2",
        "next": f"{base}&sysparm_offset=4&sysparm_limit=2",
        "last": f"{base}&sysparm_offset=4&sysparm_limit=2",
    }
    assert list(links(got.headers["Link"])) == ["first", "prev", "next", "last"]


def test_which_links_there_are(get: Ask) -> None:
    assert list(links(get("table/incident", sysparm_limit=3).headers["Link"])) == ["first", "next", "last"]
    assert list(links(get("table/incident", sysparm_limit=3, sysparm_offset=6).headers["Link"])) == [
        "first",
        "prev",
        "last",
    ]
    assert "Link" not in get("table/incident", sysparm_limit=7).headers
    assert "Link" not in get("table/incident", sysparm_limit=3, sysparm_suppress_pagination_header="true").headers
    bare = get("table/incident", sysparm_limit=3, sysparm_no_count="true").headers
    assert "Link" not in bare
    assert "X-Total-Count" not in bare


def test_links_name_the_canonical_host(get: Ask, knobs: Knobs) -> None:
    knobs.canonical_url = "https://dev1.service-now.com"
    assert (
        get("table/incident", sysparm_limit=3)
        .headers["Link"]
        .startswith("<https://dev1.service-now.com/api/now/table/")
    )


def test_a_query_too_long_for_links_is_refused(get: Ask, knobs: Knobs) -> None:
    query = "^OR".join(f"number=INC{at:04d}" for at in range(200)) + "^ORDERBYnumber"
    got = get("table/incident", sysparm_query=query, sysparm_limit=2)
    assert (got.status, got.error[0]) == (400, "Pagination not supported")
    assert "larger then 7 to bypass" in str(got.error[1])
    assert get("table/incident", sysparm_query=query, sysparm_limit=10).status == 200
    assert (
        get("table/incident", sysparm_query=query, sysparm_limit=2, sysparm_suppress_pagination_header="true").status
        == 200
    )
    knobs.link_query_limit = 0
    assert get("table/incident", sysparm_query=query, sysparm_limit=2).status == 200


def test_an_address_too_long_is_414_in_html(get: Ask) -> None:
    got = get("table/incident", sysparm_query="x" * 9_000)
    assert got.status == 414
    assert got.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_wrong_limit_is_400(get: Ask, limit: str) -> None:
    got = get("table/incident", sysparm_limit=limit)
    assert (got.status, got.error[0]) == (400, "Invalid value given for sysparm_limit")


def test_errors_by_name(get: Ask) -> None:
    assert (get("table/nope").status, get("table/nope").error) == (400, ("Invalid table nope", None))
    missing = get("table/incident/" + "9" * 32)
    assert (missing.status, missing.error[0]) == (404, "No Record found")
    assert get("nothing/here").error == ("Requested URI does not represent any resource", None)
    assert get("table/incident", headers={"Accept": "text/csv"}).status == 406
    assert get("stats/incident", method="POST").status == 405


def test_an_empty_list_is_404_in_v1_only(get: Ask) -> None:
    nothing = {"sysparm_query": "number=INC9999"}
    assert get("v1/table/incident", **nothing).status == 404
    for path in ("v2/table/incident", "table/incident"):
        got = get(path, **nothing)
        assert (got.status, got.body) == (200, b'{"result":[]}')
        assert got.headers["X-Total-Count"] == "0"


def test_head_returns_headers_only(get: Ask) -> None:
    got = get("table/incident", method="HEAD", sysparm_limit=1)
    assert (got.status, got.headers["X-Total-Count"], got.body) == (200, "7", b"")


def test_xml_for_those_who_prefer_it(get: Ask) -> None:
    accept = {"Accept": "text/html,application/xml;q=0.9,application/json;q=0.5"}
    got = get("table/nope", headers=accept)
    assert got.headers["Content-Type"].startswith("application/xml")
    assert b"<error><detail/><message>Invalid table nope</message></error><status>failure</status>" in got.body


def test_the_date_header_is_the_clock(small: SimulatorServer) -> None:
    assert ask(small, "table/incident").headers["Date"].startswith("Wed, 11 Mar 2026 12:00:")
    small.sim.clock.advance(days=1)
    assert ask(small, "table/incident").headers["Date"].startswith("Thu, 12 Mar 2026 12:00:")


def test_hidden_rows_go_after_the_limit(knobs: Knobs, get: Ask) -> None:
    """Appendix A1 of the notes on real instances: short pages, an empty one, and a count that knows nothing of it."""
    knobs.hidden_rows = [HiddenRows("incident", sys_ids=frozenset({"02" * 16}), windows=(("04" * 16, "07" * 16),))]
    pages = [
        get("table/incident", sysparm_query="ORDERBYsys_id", sysparm_limit=3, sysparm_offset=at) for at in (0, 3, 6)
    ]
    assert ["".join(row["number"][-1] for row in page.rows) for page in pages] == ["13", "", "7"]
    assert {page.headers["X-Total-Count"] for page in pages} == {"7"}
    assert list(links(pages[1].headers["Link"])) == ["first", "prev", "next", "last"]
    assert get(f"table/incident/{'04' * 16}").status == 404
    assert len(get("table/incident", login="lucy:pw").rows) == 3
    knobs.hidden_rows[0].user = "admin"
    assert len(get("table/incident", login="lucy:pw").rows) == 7


def test_hidden_fraction_is_the_same_rows_every_time() -> None:
    knobs = Knobs(hidden_rows=[HiddenRows("task", fraction=0.4)])
    with Simulator({"incident": 500}, knobs=knobs).serve() as server:
        first, again = (
            {row["sys_id"] for row in ask(server, "table/incident", sysparm_fields="sys_id").rows} for _ in range(2)
        )
    assert first == again
    assert 200 < len(first) < 400


def test_rights_to_query(knobs: Knobs, get: Ask) -> None:
    knobs.query_acls = {"task": {"sys_id"}}
    assert get("table/incident", sysparm_query="ORDERBYsys_id").status == 403
    assert get("table/incident", sysparm_query="sys_id>1").status == 403
    assert get("table/incident", sysparm_query=f"sys_id={'01' * 16}").status == 200
    knobs.query_acls, knobs.hidden_fields = {}, {"incident": {"caller_id"}}
    assert get("table/incident", sysparm_query="caller_idISNOTEMPTY").status == 403
    assert get("stats/incident", sysparm_count="true", sysparm_query="caller_idISNOTEMPTY").status == 403


def test_closed_and_denied_tables(knobs: Knobs, get: Ask) -> None:
    knobs.denied_tables, knobs.closed_tables = {"incident"}, {"problem"}
    got = get("table/incident")
    assert (got.status, got.rows) == (200, [])
    assert get("stats/incident", sysparm_count="true").status == 403
    assert get("table/problem").status == 403


def paged(server: SimulatorServer, query: str, size: int) -> list[str]:
    """Every sys_id that offset paging brings."""
    found: list[str] = []
    for offset in range(0, 3_000, size):
        got = ask(server, "table/incident", sysparm_query=query, sysparm_fields="sys_id", sysparm_limit=size,
                  sysparm_offset=offset)  # fmt: skip
        assert got.headers["X-Total-Count"] == "3000"
        found += [row["sys_id"] for row in got.rows]
    return found


@pytest.mark.parametrize("query", ["", "ORDERBYstate", "ORDERBYsys_created_on"])
def test_a_sort_with_ties_loses_and_doubles_rows_the_same_ones_every_time(
    generated: SimulatorServer, query: str
) -> None:
    first, again = paged(generated, query, 100), paged(generated, query, 100)
    assert len(first) == 3_000
    assert len(set(first)) < 3_000
    assert first == again


@pytest.mark.parametrize(
    "query", ["ORDERBYsys_id", "ORDERBYDESCsys_id", "ORDERBYstate^ORDERBYsys_id", "ORDERBYDESCopened_at^ORDERBYsys_id"]
)
def test_a_total_order_loses_nothing(generated: SimulatorServer, query: str) -> None:
    found = paged(generated, query, 100)
    assert len(set(found)) == len(found) == 3_000
    rows = {row["sys_id"]: row for row in generated.sim.rows("incident")}
    if query == "ORDERBYDESCopened_at^ORDERBYsys_id":
        times = [rows[one].get("opened_at", "") for one in found]
        assert times == sorted(times, reverse=True)
    if query == "ORDERBYsys_id":
        assert found == sorted(rows)


def test_ties_stay_where_they_are_told_to(generated: SimulatorServer) -> None:
    generated.sim.knobs.ties = "stay"
    try:
        found = paged(generated, "", 100)
    finally:
        generated.sim.knobs.ties = "move"
    assert Counter(found).most_common(1)[0][1] == 1


def test_a_deleted_row_shifts_the_others_and_is_logged_under_its_class() -> None:
    with Simulator(tables=small_tables(), at=NOON).serve() as server:
        server.sim.delete("task", "01" * 16)
        rest = ask(server, "table/incident", sysparm_query="ORDERBYsys_id", sysparm_offset=1, sysparm_limit=1)
        assert rest.rows[0]["number"] == "INC0003"
        log = ask(server, "table/sys_audit_delete", sysparm_fields="tablename,documentkey,sys_created_on").rows
    assert [entry["tablename"] for entry in log] == ["incident"]
    assert log[0]["documentkey"] == "01" * 16
    assert log[0]["sys_created_on"].startswith("2026-03-11 12:00")
