from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from snow_assets.config import Credentials
from snow_assets.errors import CredentialsError, InstanceUnavailable
from snow_assets.servicenow.auth import ApiKey, BasicAuth, BearerToken, OAuthToken, TokenUnavailable
from snow_assets.servicenow.client import Client
from snow_assets.servicenow.exchange import Answer
from snow_assets.servicenow.faults import FAULTS
from snow_assets_tests.servicenow.scripted import Asked, Connection, Scripted, scripted

PASSWORD = {
    "client_id": "cid",
    "client_secret": "MARKED-secret",
    "username": "svc",
    "password": "MARKED-password",
}
CLIENT = {"client_id": "cid", "client_secret": "MARKED-secret"}
COUNT = json.dumps({"result": {"stats": {"count": "7"}}}).encode()


def token(value: str, expires_in: object = 1799, **more: str) -> Answer:
    body = json.dumps({"access_token": value, "expires_in": expires_in, "token_type": "Bearer"} | more).encode()
    return Answer(200, {"content-type": "application/json"}, body)


REFUSED = Answer(401, {}, b'{"error_description":"access_denied","error":"server_error"}')


class Endpoint:
    """A token endpoint in memory: a clock, scripted answers, and what was posted."""

    def __init__(self, *answers: Answer) -> None:
        self.now = 1000.0
        self.answers = list(answers)
        self.forms: list[Mapping[str, str]] = []

    def post(self, path: str, form: Mapping[str, str]) -> Answer:
        assert path == "/oauth_token.do"
        self.forms.append(form)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def holder(self, grant: Mapping[str, str] = PASSWORD) -> OAuthToken:
        kind = next((name for name in ("refresh_token", "password") if name in grant), "client_credentials")
        return OAuthToken({"grant_type": kind, **grant}, self.post, clock=lambda: self.now)


def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    endpoint = Endpoint(token("A", refresh_token="R"), token("B"))
    holder = endpoint.holder()
    assert holder.header() == ("Authorization", "Bearer A")
    endpoint.now += 1700
    assert holder.header()[1] == "Bearer A"
    endpoint.now += 45  # 54 s are left
    assert holder.header()[1] == "Bearer B"
    assert [form["grant_type"] for form in endpoint.forms] == ["password", "refresh_token"]
    assert endpoint.forms[1]["refresh_token"] == "R"
    assert "password" not in endpoint.forms[1]


def test_the_remaining_lifetime_counts_not_the_usual_one() -> None:
    endpoint = Endpoint(token("A", 20), token("B"))
    holder = endpoint.holder()
    holder.header()
    endpoint.now += 19
    assert holder.header()[1] == "Bearer B"


def test_a_token_that_comes_back_unchanged_is_used_to_its_end() -> None:
    endpoint = Endpoint(token("A", 600), token("A", 50), token("B"))
    holder = endpoint.holder(CLIENT)
    for passing in (0, 550, 10, 10, 28):
        endpoint.now += passing
        assert holder.header()[1] == "Bearer A"
    assert len(endpoint.forms) == 2, "the endpoint is not asked before every request"
    endpoint.now += 3
    assert holder.header()[1] == "Bearer B"


def test_a_refused_refresh_token_falls_back_to_the_grant() -> None:
    endpoint = Endpoint(token("A", 100, refresh_token="R"), REFUSED, token("B"))
    holder = endpoint.holder()
    holder.header()
    endpoint.now += 99
    assert holder.header()[1] == "Bearer B"
    assert [form["grant_type"] for form in endpoint.forms] == ["password", "refresh_token", "password"]


def test_a_token_that_still_holds_survives_a_failed_renewal() -> None:
    down = Answer(0, {}, b"", fault="connection_refused")
    endpoint = Endpoint(token("A", 600), down, down, down)
    holder = endpoint.holder(CLIENT)
    holder.header()
    endpoint.now += 560
    assert holder.header()[1] == "Bearer A"
    endpoint.now += 60
    with pytest.raises(TokenUnavailable) as caught:
        holder.header()
    assert caught.value.answer.fault == "connection_refused"


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refused_grant_is_one_clear_error(status: int) -> None:
    with pytest.raises(CredentialsError) as caught:
        Endpoint(Answer(status, {}, REFUSED.body)).holder().header()
    assert "MARKED" not in str(caught.value)
    assert "locked user" in caught.value.hint


REFRESH = CLIENT | {"refresh_token": "MARKED-refresh"}


def test_a_refresh_token_is_a_way_to_sign_in() -> None:
    endpoint = Endpoint(token("A", refresh_token="MARKED-refresh"), token("B"), token("C", refresh_token="MARKED-new"))
    holder = endpoint.holder(REFRESH)
    for expected in ("A", "B", "C", "C"):
        assert holder.header()[1] == f"Bearer {expected}"
        endpoint.now += 1750 if expected != "C" else 1
    assert [form["grant_type"] for form in endpoint.forms] == ["refresh_token"] * 3
    assert {form["refresh_token"] for form in endpoint.forms} == {"MARKED-refresh"}
    endpoint.now += 1750
    holder.header()
    assert endpoint.forms[-1]["refresh_token"] == "MARKED-new", "one that was replaced is not used again"


def test_a_replaced_refresh_token_that_ended_falls_back_to_the_one_given() -> None:
    endpoint = Endpoint(token("A", 100, refresh_token="MARKED-new"), REFUSED, token("B"))
    holder = endpoint.holder(REFRESH)
    holder.header()
    endpoint.now += 99
    assert holder.header()[1] == "Bearer B"
    assert [form["refresh_token"] for form in endpoint.forms[1:]] == ["MARKED-new", "MARKED-refresh"]


def test_a_refresh_token_that_ended_is_said_once() -> None:
    endpoint = Endpoint(token("A", 100), REFUSED)
    holder = endpoint.holder(REFRESH)
    holder.header()
    endpoint.now += 101
    for _ in range(5):
        with pytest.raises(CredentialsError, match="refresh_token grant") as caught:
            holder.header()
        assert "the refresh token may have ended" in caught.value.hint
        assert "MARKED" not in str(caught.value)
    assert len(endpoint.forms) == 2, "what was refused is not asked for again"


def test_a_token_with_no_seconds_left_is_not_asked_for_before_every_request() -> None:
    endpoint = Endpoint(token("A", 3), token("A", 0), token("B"))
    holder = endpoint.holder(CLIENT)
    holder.header()
    endpoint.now += 3
    for _ in range(9):
        assert holder.header()[1] == "Bearer A"
        endpoint.now += 0.1
    assert len(endpoint.forms) == 2
    endpoint.now += 0.2
    assert holder.header()[1] == "Bearer B"


@pytest.mark.parametrize(
    ("answer", "fault", "said"),
    [
        (Answer(0, {}, b"", fault="timeout"), "no_token", "timeout"),
        (Answer(0, {}, b"", fault="too_slow"), "no_token", "too_slow"),
        (Answer(0, {}, b"", fault="truncated_body"), "no_token", "truncated_body"),
        (Answer(0, {}, b"", fault="connection_reset"), "no_token", "connection_reset"),
        (Answer(0, {}, b"", fault="connection_refused"), "connection_refused", ""),
        (Answer(500, {}, b"{}"), "no_token", "500"),
        (Answer(200, {}, b"{}"), "no_token", "without a token"),
        (Answer(200, {}, b"\xff\xfe"), "no_token", "without a token"),
        (Answer(503, {"content-type": "text/html"}, b"<html>"), "gateway_error", "token endpoint: status 503"),
        (Answer(429, {"retry-after": "7"}, b""), "rate_limited", "token endpoint: status 429"),
        (Answer(302, {}, b""), "redirect", "token endpoint: status 302"),
        (Answer(204, {}, b""), "unexpected_status", "token endpoint: status 204"),
    ],
)
def test_a_failing_endpoint_never_makes_pages_smaller(answer: Answer, fault: str, said: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        Endpoint(answer).holder().header()
    judged = caught.value.answer
    assert (judged.fault, judged.status) == (fault, 0 if fault == "no_token" else answer.status)
    assert said in judged.detail
    if judged.fault:
        row = FAULTS[judged.fault]
        assert not row.halve
        assert not row.halve_at_last


def test_a_401_for_a_token_that_held_before_is_no_refusal() -> None:
    endpoint = Endpoint(token("A"), token("B"), token("C"))
    holder = endpoint.holder(CLIENT)
    _, first = holder.header()
    holder.accepted(first)
    assert not holder.refused(first), "it ended"
    assert not holder.refused(first), "another thread, later"
    _, second = holder.header()
    assert not holder.refused(first), "replaced meanwhile"
    assert holder.refused(second), "fresh, and never accepted"
    assert BasicAuth("u", "p").refused("Basic x")


def test_nothing_that_holds_a_secret_can_be_pickled_or_shown() -> None:
    credentials = Credentials.model_validate(PASSWORD | REFRESH | {"token": "MARKED-token", "api_key": "MARKED-key"})
    held = [credentials, BasicAuth("u", "MARKED"), BearerToken("MARKED"), ApiKey("MARKED"), Endpoint().holder(REFRESH)]
    for one in held:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="memory"):
                pickle.dumps(one, protocol)
        with pytest.raises(TypeError):
            json.dumps(one)
        assert "MARKED" not in repr(one) + str(one) + f"{one!r:>5}"
    assert "MARKED" not in credentials.model_dump_json() + str(credentials.model_dump())
    assert len([secret for secret in credentials.secrets if "MARKED" in secret]) == 5


def test_a_user_name_with_a_colon_cannot_sign_in_by_basic() -> None:
    with pytest.raises(CredentialsError, match="colon") as caught:
        BasicAuth("do:main", "MARKED")
    assert "MARKED" not in str(caught.value)


def test_an_answer_without_a_token_is_no_token() -> None:
    for body in (b"{}", b"null", b"", b"<html>"):
        with pytest.raises(TokenUnavailable):
            Endpoint(Answer(200, {}, body)).holder().header()


def test_a_401_asks_anew_once_for_all_threads() -> None:
    endpoint = Endpoint(token("A"), token("B"))
    holder = endpoint.holder(CLIENT)
    _, value = holder.header()
    for _ in range(3):
        holder.refused(value)
        assert holder.header()[1] == "Bearer B"
    assert len(endpoint.forms) == 2


def oauth_instance(valid: Callable[[str], bool], lifetime: int = 1799) -> Callable[[Asked, Connection], None]:
    """A script: hands out T1, T2, ... and accepts those that are ``valid``."""
    issued: list[str] = []

    def script(asked: Asked, connection: Connection) -> None:
        if asked.path == "/oauth_token.do":
            if asked.form.get("client_secret") != "MARKED-secret":
                connection.answer(401, REFUSED.body)
                return
            issued.append(f"T{len(issued) + 1}")
            body = json.dumps({"access_token": issued[-1], "expires_in": lifetime}).encode()
            connection.answer(200, body)
        elif valid(asked.headers["authorization"].removeprefix("Bearer ")):
            connection.answer(200, COUNT)
        else:
            connection.answer(401, b'{"error":{"message":"User Not Authenticated","detail":null}}')

    return script


def client_of(server: Scripted, **credentials: str) -> Client:
    return Client(server.url, Credentials.model_validate(credentials), retry_backoff=0.01, max_retries=1)


@pytest.mark.parametrize("credentials", [PASSWORD, CLIENT], ids=["password", "client-credentials"])
def test_one_token_serves_every_thread(credentials: dict[str, str]) -> None:
    with (
        scripted(oauth_instance(lambda _: True)) as server,
        client_of(server, **credentials) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        assert list(pool.map(lambda _: client.get_count("incident"), range(32))) == [7] * 32
    assert server.paths.count("/oauth_token.do") == 1
    posted = server.asked[0]
    assert posted.headers["content-type"] == "application/x-www-form-urlencoded"
    assert posted.form["grant_type"] == ("password" if "password" in credentials else "client_credentials")
    assert "authorization" not in posted.headers
    assert "MARKED" not in posted.target


def test_a_token_revoked_in_mid_pull_is_renewed_once() -> None:
    revoked = threading.Event()

    def valid(value: str) -> bool:
        return value != "T1" or not revoked.is_set()

    with scripted(oauth_instance(valid)) as server, client_of(server, **CLIENT) as client:
        client.get_count("incident")
        revoked.set()
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda _: client.get_count("incident"), range(12))) == {7}
    assert server.paths.count("/oauth_token.do") == 2


def test_a_token_that_is_never_accepted_ends_as_a_matter_of_credentials() -> None:
    with scripted(oauth_instance(lambda _: False)) as server, client_of(server, **CLIENT) as client:
        with pytest.raises(CredentialsError):
            client.get_count("incident")
        assert server.paths.count("/api/now/stats/incident") == 2


def test_a_wrong_client_secret_is_told_without_it() -> None:
    wrong = CLIENT | {"client_secret": "MARKED-wrong"}
    with scripted(oauth_instance(lambda _: True)) as server, client_of(server, **wrong) as client:
        with pytest.raises(CredentialsError) as caught:
            client.get_count("incident")
        assert "MARKED" not in repr(caught.value) + str(caught.value) + repr(client) + repr(vars(client._transport))
        assert server.paths == ["/oauth_token.do"]


def test_a_token_endpoint_that_is_down_is_an_outage() -> None:
    def script(_: Asked, connection: Connection) -> None:
        connection.answer(503, b"<html>", Content_Type="text/html")

    with scripted(script) as server, client_of(server, **CLIENT) as client:
        with pytest.raises(InstanceUnavailable):
            client.get_count("incident")
        assert server.paths == ["/oauth_token.do"] * 3  # two tries, and the question whether the instance is there


def test_an_api_key_goes_into_its_own_header() -> None:
    with (
        scripted(lambda _, connection: connection.answer(200, COUNT)) as server,
        client_of(server, api_key="MARKED-key") as client,
    ):
        client.get_count("incident")
    assert server.asked[0].headers["x-sn-apikey"] == "MARKED-key"
    assert "authorization" not in server.asked[0].headers


def test_a_wrong_password_is_tried_once_only() -> None:
    def script(_: Asked, connection: Connection) -> None:
        connection.answer(401, b'{"error":{"message":"User Not Authenticated","detail":null}}')

    with scripted(script) as server, client_of(server, username="u", password="MARKED") as client:
        with pytest.raises(CredentialsError) as caught:
            client.get_count("incident")
        assert len(server.asked) == 1, "repeated wrong passwords lock the account"
        assert "MARKED" not in str(caught.value)


def test_a_401_in_mid_pull_is_tried_again_in_a_new_session() -> None:
    def script(asked: Asked, connection: Connection) -> None:
        expired = asked.headers.get("cookie") == "JSESSIONID=old" and len(server.asked) == 2
        connection.answer(401 if expired else 200, COUNT, Set_Cookie="JSESSIONID=old; Path=/")

    with scripted(script) as server, client_of(server, username="u", password="p") as client:
        assert client.get_count("incident") == 7
        assert client.get_count("incident") == 7
        assert [asked.headers.get("cookie") for asked in server.asked] == [None, "JSESSIONID=old", None]
