"""Every kind of fault at every stage of a pull.

A fault that passes costs requests: exactly the true rows land, and the fault is counted by name. A fault that stays
either concerns something that a pull can do without, and then the true rows land all the same, or it ends the pull with
an error that names the table and the fault. A smaller dataset is never an outcome.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import Cancelled, CredentialsError, PublishRefused, SnowError
from snow_assets.pulls import Failed, Plan, land_slices, make_plan, publish, reconcile
from snow_assets.pulls.costs import noted_costs
from snow_assets.pulls.dataset import published_plan
from snow_assets.pulls.totals import read_totals
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Tally
from snow_assets.servicenow.fault_log import LOGGER
from snow_assets.servicenow.faults import FAULTS
from snow_assets.simulator import HiddenRows, Knobs, Simulator, SimulatorServer
from snow_assets.simulator.fault_kinds import KINDS
from snow_assets_tests.pulls.conftest import Workbench, read_plainly, sys_id_of

ROWS, SLICE, PAGE = 240, 120, 40
FIELDS = ("sys_id", "number", "state", "caller_id", "short_description", "sys_mod_count")


@dataclass(frozen=True)
class Case:
    """One way to go wrong: a rule of the simulator, the names that we may give it, and the answers that it can hit."""

    kind: str
    names: frozenset[str]
    group: str  # any, rows, counts, silent, fatal, harmless, slow
    more: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __str__(self) -> str:
        return f"{self.kind}-{self.label}" if self.label else self.kind


def case(kind: str, names: str, group: str, label: str = "", **more: Any) -> Case:
    return Case(kind, frozenset(names.split()), group, more, label)


_REFUSED = {
    "invalid_table_400": "unknown_table",
    "pagination_400": "bad_request",
    "query_forbidden_403": "forbidden_query",
    "unreadable_table_403": "forbidden",
    "count_refused": "forbidden",
    "scope_403": "forbidden",
    "not_found_404": "not_found",
    "html_404": "not_found",
    "method_405": "bad_request",
    "not_acceptable_406": "bad_request",
    "too_large_413": "bad_request",
    "uri_too_long_414": "bad_request",
    "media_type_415": "bad_request",
}
_PASSING = {
    "error_500": "server_error",
    "html_500": "server_error",
    "html_502": "gateway_error",
    "html_503": "gateway_error",
    "html_504": "gateway_error",
    "empty_503": "gateway_error",
    "request_timeout_408": "gateway_error",
    "client_gone_499": "gateway_error",
    "unauthorized_401": "unauthorized",
    "forbidden_403": "forbidden_api",
    "execution_time_500": "execution_time",
    "execution_time_in_200": "execution_time",
    "execution_time_broken": "execution_time",
    "execution_time_no_rows": "execution_time",
    "error_in_200": "error_in_200",
    "failure_in_200": "error_in_200",
    "error_alone_200": "error_in_200",
    "dropped_202": "accepted_202",
    "created_201": "unexpected_status",
    "no_content_204": "unexpected_status",
    "hibernating": "hibernating",
    "offline": "offline",
    "login_page": "login_page",
    "redirect": "redirect",
    "null_body": "null_body",
    "list_body": "list_body",
    "empty_body": "empty_body",
    "number_body": "not_an_object",
    "no_result": "no_result",
    "result_null": "no_result",
    "xml_body": "malformed_json",
    "plain_text": "malformed_json",
    "truncated": "truncated_json",
    "truncated_length": "truncated_body connection_reset",
    "short_length": "truncated_json",
    "broken_gzip": "broken_gzip",
    "gzip_cut": "truncated_json malformed_json empty_body",
    "not_gzip": "broken_gzip",
    "trailing_bytes": "malformed_json",
    "two_documents": "malformed_json",
    "zero_bytes": "malformed_json",
    "utf_16": "malformed_json",
    "content_type": "html",
    "reset": "connection_reset",
    "hang_up": "connection_reset",
    "reset_inside_body": "connection_reset truncated_body",
    "no_last_chunk": "truncated_body connection_reset",
    "bad_chunk": "truncated_body",
    "no_http": "connection_reset",
    "head_cut": "empty_body",
    "long_header": "transport",
}
_OF_ROWS = {
    "foreign_row": "out_of_range out_of_order duplicate_sys_id repeated_page",
    "reversed_rows": "out_of_order",
    "doubled_row": "duplicate_sys_id too_many_rows",
    "tenfold_page": "too_many_rows",
    "result_object": "no_result",
    "row_without_sys_id": "missing_sys_id",
    "row_empty_sys_id": "missing_sys_id",
    "row_null_sys_id": "missing_sys_id",
    "row_number_sys_id": "missing_sys_id",
    "row_list_sys_id": "missing_sys_id",
    "row_null": "malformed_record",
    "row_text": "malformed_record",
    "row_list": "malformed_record",
    "wrong_charset": "malformed_json",
    "deep_json": "malformed_json",
    "not_a_number": "malformed_json",
    "half_character": "truncated_json",
}
# Nothing in one answer tells these from the truth: keys and counts have to.
_SILENT = ("short_page", "lost_rows", "empty_page", "repeated_page", "overlapping_page", "shifted_page", "result_twice",
           "missing_fields")  # fmt: skip
_HARMLESS = ("byte_order_mark", "gzip_trailing", "numbers", "doubled_names", "wrong_link", "answered_twice",
             "wrong_date")  # fmt: skip
_CUTS: Mapping[str, Mapping[str, Any]] = {
    "first-brace": {"at": 0, "behind": "{"},
    "list-opened": {"at": 0, "behind": '"result":['},
    "in-a-name": {"at": 0.5, "behind": '"nu'},
    "in-a-value": {"at": 0.5, "behind": ':"'},
    "after-a-name": {"at": 0.5, "behind": '":'},
    "after-a-comma": {"at": 0.5, "behind": "},"},
    "after-a-row": {"at": 0.5, "behind": "}"},
    "two-bytes": {"lacks": 2},
    "last-brace": {"lacks": 1},
}
_BUSY: Mapping[str, Mapping[str, Any]] = {
    "no-wait": {"retry_after": 0},
    "garbage": {"retry_after": "soon", "reset": "never"},
    "negative": {"retry_after": -5, "reset": -1},
    "past-date": {"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "reset-past": {"send_retry_after": False, "reset": 1_000_000_000},
    "reset-in-ms": {"send_retry_after": False, "reset": 1_772_000_000_000},
}
_COUNTS: Mapping[str, Mapping[str, Any]] = {
    "many": {"text": "many"},
    "empty": {"text": ""},
    "negative": {"text": "-5"},
    "fraction": {"text": "12.0"},
    "grouped": {"text": "1,200"},
    "huge": {"text": "9" * 40},
}
_LIES: Mapping[str, Mapping[str, Any]] = {
    "page-low": {"delta": -PAGE},
    "page-high": {"delta": PAGE},
    "one-low": {"delta": -1},
    "zero": {"factor": 0, "delta": 0},
    "huge": {"delta": 1_000_000},
}

CASES: tuple[Case, ...] = (
    *(case(kind, names, "any") for kind, names in _PASSING.items()),
    *(case("truncated", "truncated_json", "rows", label, **cut) for label, cut in _CUTS.items()),
    *(
        case("truncated_length", "truncated_body connection_reset", "rows", label, **cut)
        for label, cut in _CUTS.items()
    ),
    *(case("rate_limited_429", "rate_limited", "busy", label, **more) for label, more in _BUSY.items()),
    case("overloaded_429", "too_many_requests", "busy"),
    case("html_429", "too_many_requests", "busy"),
    case(
        "answer",
        "rate_limited",
        "busy",
        "http-date",
        status=429,
        headers={"Retry-After": "Wed, 11 Mar 2026 11:00:00 GMT"},
    ),
    case("answer", "gateway_error", "any", "retry-after", status=503, headers={"Retry-After": "0"}),
    case("answer", "server_error", "any", "507", status=507),
    case("answer", "redirect", "any", "304", status=304),
    case("answer", "wrong_content_type", "any", "text", content_type="text/plain", body='{"result":[]}'),
    case("answer", "html", "any", "other-page", content_type="text/html", body="<p>maintenance</p>"),
    *(case(kind, names, "fatal") for kind, names in _REFUSED.items()),
    *(case(kind, names, "rows") for kind, names in _OF_ROWS.items()),
    *(case(kind, "", "silent") for kind in _SILENT),
    *(case(kind, "", "harmless") for kind in _HARMLESS),
    *(case("count_malformed", "malformed_count", "counts", label, **more) for label, more in _COUNTS.items()),
    *(case("count_lie", "", "counts", label, **more) for label, more in _LIES.items()),
    case("count_absent", "malformed_count", "counts"),
    case("count_number", "", "counts"),
    case("hang", "timeout", "slow"),
    case("hang_inside", "timeout too_slow", "slow"),
    case("drip", "too_slow timeout", "slow", bytes_per_second=100),
    case("latency", "", "harmless", seconds=0.001),
)


@dataclass(frozen=True)
class Stage:
    """Which requests of a pull are spoiled: of the plan or of the slices, answered with rows or counts or not."""

    name: str
    rule: Mapping[str, Any]
    planning: bool = False
    rows: bool = True
    counts: bool = False
    table: str = "incident"


STAGES = {
    stage.name: stage
    for stage in (
        Stage("account", {"table": "sys_user", "query": "user_name"}, planning=True, table="sys_user"),
        Stage("clock", {"table": "sys_user", "narrow": True}, planning=True, table="sys_user"),
        Stage("count", {"request": "count"}, planning=True, rows=False, counts=True),
        Stage("probe", {"table": "incident", "narrow": False, "request": "list"}, planning=True),
        Stage("ancestors", {"table": "sys_db_object"}, planning=True, table="sys_db_object"),
        Stage("dictionary", {"table": "sys_dictionary"}, planning=True, table="sys_dictionary"),
        Stage("boundary", {"table": "incident", "narrow": True}, planning=True, counts=True),
        Stage("token", {"request": "token"}, planning=True, rows=False, table=""),
        Stage("first", {"table": "incident", "narrow": False, "first": True}, counts=True),
        Stage("later", {"table": "incident", "narrow": False, "first": False}),
        Stage("last", {"table": "incident", "narrow": False}, counts=True),  # and the last sys_id
        Stage("tail", {"table": "incident", "narrow": True}, rows=False, counts=True),
        Stage("sweep", {"table": "incident", "narrow": True}, counts=True),  # and the range of the hidden row
        Stage("repair", {"table": "incident", "narrow": False, "query": "sys_idIN"}),
        Stage("look-up", {"table": "incident", "narrow": True}, counts=True),  # and the row that the sweep lost
        Stage("recount", {"request": "count"}, rows=False, counts=True),
    )
}

# What cannot be, with the reason. First by group of cases and property of the stage, then single ones.
NO_ROWS = "the answer holds no rows"
NO_COUNT = "no count is asked for"
HANGS = "each hang costs a time-out: the stages that stand for the others are tried"


def why_not(one: Case, stage: Stage) -> str:
    """Why a case cannot be tried at a stage; empty when it can."""
    if one.group in ("rows", "silent") and not stage.rows:
        return NO_ROWS
    if one.group == "counts" and not stage.counts:
        return NO_COUNT
    if one.kind == "count_number" and stage.name not in ("count", "recount"):
        return "a header is a text anyway"
    if one.group == "slow" and stage.name not in ("count", "boundary", "first", "later", "token"):
        return HANGS
    if one.kind == "drip" and stage.name in ("count", "token"):
        return "so short an answer is through in time"
    return ""


def test_every_kind_is_tried_at_every_stage_or_has_a_reason() -> None:
    assert {one.kind for one in CASES} == set(KINDS)
    assert set().union(*(one.names for one in CASES)) <= set(FAULTS)
    reasons = Counter(why_not(one, stage) for one in CASES for stage in STAGES.values())
    assert reasons.pop("") > 1_000
    assert set(reasons) >= {NO_ROWS, NO_COUNT, HANGS}


REPRESENTATIVE = frozenset({
    "error_500", "html_503", "unauthorized_401", "forbidden_403", "execution_time_500", "execution_time_in_200",
    "execution_time_broken",
    "dropped_202", "hibernating", "login_page", "redirect", "null_body", "list_body", "empty_body", "truncated",
    "truncated_length", "broken_gzip", "reset", "reset_inside_body", "rate_limited_429-no-wait", "overloaded_429",
    "query_forbidden_403", "uri_too_long_414",
})  # fmt: skip


def chosen(one: Case, stage: Stage, lasting: bool) -> bool:
    """Whether `make test` tries it. `make test-slow` tries every one; the choice is a fixed one, over all stages."""
    if one.group == "slow":
        return not lasting and (one.kind, stage.name) in (
            ("hang", "boundary"),
            ("hang_inside", "first"),
            ("drip", "later"),
        )
    turn = zlib.crc32(f"{one} {stage.name} {lasting}".encode()) % 24
    if stage.name == "later":
        return turn < (3 if lasting else 8)
    return turn < 1 or (str(one) in REPRESENTATIVE and turn % 6 == 0)


def pairs(*, lasting: bool) -> list[Any]:
    return [
        pytest.param(
            one, stage, id=f"{one}-{stage.name}", marks=() if chosen(one, stage, lasting) else pytest.mark.slow
        )
        for stage in STAGES.values()
        for one in CASES
        if not why_not(one, stage)
    ]


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatorServer]:
    with Simulator(rows={"incident": ROWS}, seed=5).serve() as running:
        yield running


@pytest.fixture(scope="module")
def truth(server: SimulatorServer) -> dict[str, dict[str, Any]]:
    """Every row as the instance answers it."""
    rows = read_plainly(server, "incident", FIELDS, "all")
    assert len(rows) == ROWS
    return {sys_id_of(row): row for row in rows}


@pytest.fixture(scope="module")
def plan(server: SimulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan that was made without any fault: two slices of three pages."""
    made = Scene(server, tmp_path_factory.mktemp("plan")).plan().plan
    assert [piece.rows for piece in made.slices] == [SLICE] * 2
    return made


class Scene(Workbench):
    """A pull of a small table by one thread, so that what a rule hits is known."""

    def __init__(self, server: SimulatorServer, data: Path) -> None:
        super().__init__(
            server,
            data,
            fields=FIELDS,
            display_value="all",
            page_size=PAGE,
            slice_rows=SLICE,
            max_workers=1,
            retry_backoff=0.0005,
        )
        self.credentials = Credentials(username=server.username, password=server.password)
        self.settings: dict[str, Any] = {"timeout": (20.0, 20.0), "max_wait": 0.25, "max_retries": 3}

    @contextmanager
    def client(self, **settings: Any) -> Iterator[Client]:
        given = {"retry_backoff": self.pull.retry_backoff, "max_workers": 1, **self.settings, **settings}
        with Client(self.server.url, self.credentials, **given) as client:
            yield client


@pytest.fixture
def scene(server: SimulatorServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    # What is costly and has tests of its own: reading a CA bundle for each client, the receipt as a page.
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setattr("snow_assets.pulls.totals.render", lambda *_: "")
    server.faults.clear()
    server.sim.knobs = Knobs()
    yield Scene(server, tmp_path / "data")
    server.faults.clear()
    server.sim.knobs = Knobs()


class Spoilt:
    """One case at one stage: sets the scene, pulls, and tells what came of it."""

    def __init__(self, scene: Scene, one: Case, stage: Stage, plan: Plan, truth: Mapping[str, Any]) -> None:
        self.scene, self.one, self.stage, self.plan = scene, one, stage, plan
        self.truth = {sys_id: dict(row) for sys_id, row in truth.items()}
        self.ids = sorted(truth)
        self.rule: dict[str, Any] = {"kind": one.kind, **stage.rule, **one.more}
        if one.group == "slow":
            scene.settings["timeout"] = (0.5, 0.5)
        if stage.name == "token":
            scene.credentials = Credentials(client_id="client", client_secret="secret")
        self._set()

    def _set(self) -> None:
        """Make the pull come to the stage: hide a row, lose a row, or keep the count back."""
        faults, name = self.scene.server.faults, self.stage.name
        hidden = self.ids[100]  # in the first slice
        if name == "last":
            self.rule["sys_id"] = self.ids[-1]
        elif name == "repair":
            faults.add({"kind": "lost_rows", "rows": 2, "table": "incident", "narrow": False, "times": 1})
        elif name in ("sweep", "look-up", "recount"):
            self.scene.sim.knobs.hidden_rows.append(HiddenRows("incident", sys_ids=frozenset({hidden})))
            del self.truth[hidden]
            if name == "sweep":
                self.rule["covers"] = hidden
            elif name == "look-up":
                lost = self.ids[110]
                faults.add(
                    {"kind": "lost_rows", "lost": lost, "table": "incident", "narrow": True, "times": 1, "covers": lost}
                )
                self.rule["query"] = f"sys_id={lost}"
            else:
                faults.add({"kind": "count_absent", "request": "list", "table": "incident"})

    def spoil(self, **rhythm: Any) -> None:
        number = self.scene.server.faults.add({**self.rule, **rhythm})
        self.active = next(rule for rule in self.scene.server.faults.rules() if rule.number == number)

    def run(self, **rhythm: Any) -> SnowError | None:
        """Plan, slices, totals and dataset, the stage spoilt; the error that ended it."""
        if self.stage.planning:
            self.spoil(**rhythm)
            try:
                with self.scene.client() as client:
                    self.plan = make_plan(self.scene.pull, client, self.scene.landing).plan
            except SnowError as error:
                assert self.scene.landing.plan_ids() == []
                return error
            if self.stage.name != "count":  # the others would spoil the slices, too, which have stages of their own
                self.scene.server.faults.clear(self.active.number)
        else:
            self.scene.landing.write_plan(self.plan)
        return self._land(rhythm)

    def _land(self, rhythm: Mapping[str, Any]) -> SnowError | None:
        scene = self.scene
        with scene.client() as client:
            client.clock()  # so that the credentials are known to be good
            if not self.stage.planning:
                self.spoil(**rhythm)
            results = list(land_slices(self.plan, self.plan.slices, scene.pull, client, scene.landing))
        failed = [result.error for result in results if isinstance(result, Failed)]
        if failed:
            return next((error for error in failed if not isinstance(error, Cancelled)), failed[0])
        totals = reconcile(self.plan, scene.landing, scene.pull)
        if self.one.group in ("silent", "counts"):
            try:
                publish(self.plan, totals, scene.landing, scene.pull)
            except PublishRefused as refused:
                return refused
            assert published_plan(scene.landing) == self.plan.plan_id
        return None

    def counted_faults(self) -> set[str]:
        """Names in the ledgers of what landed, of what did not, and of the plan."""
        tally = Tally.from_dict(self.plan.cost) if self.plan.cost and self.stage.planning else Tally()
        for file in self.scene.landing.all_landed(self.plan).values():
            tally.add(file.ledger.tally)
        for noted in noted_costs(self.scene.landing, self.plan):
            tally.add(noted)
        return set(tally.faults)

    def must_be_true(self) -> None:
        """What landed is the truth: each row once, every value as the instance has it, but for fields said hidden."""
        landed = self.scene.landed_records(self.plan)
        totals = read_totals(self.scene.landing, self.plan.plan_id)
        if totals and any(difference.cause == "field_hidden" for difference in totals.differences):
            assert self.one.kind == "missing_fields"
            assert self.active.document.get("times") is None
            for row in (*landed, *self.truth.values()):
                row.pop("short_description", None)
        assert Counter(map(sys_id_of, landed)) == Counter(self.truth.keys())
        assert {sys_id_of(row): row for row in landed} == self.truth


# What ends a pull although it might have passed, with the reason.
STOPS_AT_ONCE: Mapping[tuple[str, str], str] = {
    ("unauthorized_401", "account"): "a wrong password is not tried twice: that locks accounts",
    ("unauthorized_401", "token"): "the grant is refused, and not tried twice",
    ("forbidden_403", "token"): "the grant is refused, and not tried twice",
}


@pytest.mark.parametrize(("one", "stage"), pairs(lasting=False))
def test_a_fault_that_passes(
    one: Case, stage: Stage, scene: Scene, plan: Plan, truth: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", LOGGER)
    spoilt = Spoilt(scene, one, stage, plan, truth)
    error = spoilt.run(times=1)
    assert spoilt.active.hits == 1
    if error is not None and (one.group == "fatal" or (one.kind, stage.name) in STOPS_AT_ONCE):
        must_name(error, spoilt)
        return
    assert error is None, str(error)
    spoilt.must_be_true()
    if stage.planning and stage.name != "token" and one.group != "fatal":
        assert spoilt.plan.identity == plan.identity, "what a plan is bound to depends on luck"
    if must_be_noticed(one, stage):
        assert spoilt.counted_faults() & one.names, spoilt.counted_faults()
        lines = [record.getMessage() for record in caplog.records if record.name == LOGGER]
        assert any(name in line for name in one.names for line in lines), lines


def must_be_noticed(one: Case, stage: Stage) -> bool:
    """Whether the fault has to be counted by name, where the truth landed."""
    if one.kind in ("count_absent", "count_malformed"):
        return False  # a count is asked for in another way, or done without
    if one.group == "rows":
        return stage.name in ("first", "later")  # other answers are not asked for their order, or hold one row
    return bool(one.names) and stage.name != "token"


# At the account, no faults as far as anyone can tell: it may not be asked, or the question is dropped.
REFUSED_THERE = {"forbidden_403", "foreign_row"}


@pytest.mark.parametrize(("one", "stage"), pairs(lasting=True))
def test_a_fault_that_stays(one: Case, stage: Stage, scene: Scene, plan: Plan, truth: dict[str, Any]) -> None:
    scene.settings["max_retries"] = 1
    spoilt = Spoilt(scene, one, stage, plan, truth)
    error = spoilt.run()
    assert spoilt.active.hits >= 1
    if error is None:
        spoilt.must_be_true()
        if stage.name == "account" and spoilt.plan.identity != plan.identity:  # unknown to us, today and tomorrow
            assert one.group in ("fatal", "silent") or one.kind in REFUSED_THERE
    else:
        assert one.group != "harmless"
        must_name(error, spoilt)
        assert published_plan(scene.landing) is None


def must_name(error: SnowError, spoilt: Spoilt) -> None:
    """The error says where and why, on one line."""
    text, one, stage = str(error), spoilt.one, spoilt.stage
    assert "\n" not in text
    if stage.name == "token":
        assert "token" in text
        return
    assert stage.table in text
    if one.group in ("silent", "counts"):
        return  # no answer was wrong by itself: the error names what does not fit, a range, a row or a field
    names = one.names
    assert isinstance(error, CredentialsError) or any(name in text for name in names), text
