"""pulls.yaml, the environment and the credentials: what is accepted, and how problems are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.config import Credentials, Environment, PullConfig, Timeout, check_url, find_problems, load_settings
from snow_assets.errors import ConfigError, CredentialsError

SECRET = "hunter2"


def write(folder: Path, text: str) -> Path:
    path = folder / "pulls.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_pull_gets_its_defaults(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "pulls: {incidents: {table: incident}}"))
    pull = settings.pulls["incidents"]
    assert pull == PullConfig(name="incidents", table="incident")
    assert (pull.display_value, pull.page_size, pull.max_workers, pull.max_retries) == ("all", 1000, 16, 3)
    assert (pull.retry_backoff, pull.timeout, pull.max_wait) == (1.0, Timeout(connect=10.0, read=90.0), 900.0)


def test_short_forms_and_defaults_for_all(tmp_path: Path) -> None:
    text = """
instance: {url: "https://dev1.service-now.com/"}
defaults: {page_size: 500, timeout: 30, max_plan_age: 2d}
pulls:
  a: {table: incident, display_value: true, schedule: "0 2 * * 1-5", max_wait: 15m}
  b: {table: incident, page_size: 10, timeout: {connect: 1}, schedule: {cron: "@daily", timezone: Europe/Berlin}}
"""
    settings = load_settings(write(tmp_path, text))
    first, second = settings.pulls["a"], settings.pulls["b"]
    assert settings.instance.url == "https://dev1.service-now.com"
    assert (first.page_size, first.display_value, first.max_wait, first.max_plan_age) == (500, "true", 900.0, 172_800.0)
    assert first.timeout == Timeout(connect=10.0, read=30.0)
    assert first.schedule is not None
    assert (first.schedule.cron, first.schedule.timezone) == ("0 2 * * 1-5", "UTC")
    assert (second.page_size, second.timeout) == (10, Timeout(connect=1.0, read=90.0))


def test_json_with_tabs_is_yaml_too(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, '{\n\t"pulls": {\n\t\t"a": {"table": "incident"}\n\t}\n}'))
    assert list(settings.pulls) == ["a"]


# What is wrong -> key, line (0: none), a word of the way out.
PROBLEMS: dict[str, tuple[str, int, str]] = {
    "": ("pulls", 0, "pulls:"),
    "[]": ("pulls", 0, "not a map"),
    "pulls:": ("pulls", 1, "no pull"),
    "pulls: {}": ("pulls", 1, "init"),
    "pulls: 3": ("pulls", 1, "not a map"),
    "pull: {a: {table: x}}\npulls: {b: {table: y}}": ("pull", 1, "did you mean pulls?"),
    "pulls:\n  a:\n    table: x\n    pge_size: 5": ("pulls.a.pge_size", 4, "did you mean page_size?"),
    "pulls:\n  a:\n    tabel: x": ("pulls.a.table", 2, "missing"),
    "pulls:\n  a: {table: x}\n  a: {table: y}": ("a", 3, "twice"),
    "pulls:\n  a: {table: x}\n  A: {table: y}": ("pulls.A", 3, "case"),
    "pulls:\n  1a: {table: x}": ("pulls.1a", 2, "rename"),
    "pulls:\n  a: {name: b, table: x}": ("pulls.a.name", 2, "its name"),
    "pulls:\n  a: {table: a b}": ("pulls.a.table", 2, "table's name"),
    "pulls:\n  a: {table: x, page_size: 0}": ("pulls.a.page_size", 2, "1 to 10000"),
    "pulls:\n  a: {table: x, page_size: 10001}": ("pulls.a.page_size", 2, "1 to 10000"),
    "pulls:\n  a: {table: x, page_size: '5'}": ("pulls.a.page_size", 2, "whole number"),
    "pulls:\n  a: {table: x, page_size: 1.5}": ("pulls.a.page_size", 2, "whole number"),
    "pulls:\n  a: {table: x, max_workers: true}": ("pulls.a.max_workers", 2, "whole number"),
    "pulls:\n  a: {table: x, max_retries: -1}": ("pulls.a.max_retries", 2, "less than 0"),
    "pulls:\n  a: {table: x, retry_backoff: .inf}": ("pulls.a.retry_backoff", 2, "finite"),
    "pulls:\n  a: {table: x, timeout: 0}": ("pulls.a.timeout.read", 2, "more than 0"),
    "pulls:\n  a: {table: x, timeout: {raed: 1}}": ("pulls.a.timeout.raed", 2, "did you mean read?"),
    "pulls:\n  a: {table: x, max_wait: soon}": ("pulls.a.max_wait", 2, "15m"),
    "pulls:\n  a: {table: x, fields: sys_id}": ("pulls.a.fields", 2, "write a list"),
    "pulls:\n  a: {table: x, fields: []}": ("pulls.a.fields", 2, "empty"),
    "pulls:\n  a: {table: x, fields: [a, a]}": ("pulls.a.fields", 2, "twice"),
    "pulls:\n  a:\n    table: x\n    fields:\n      - a\n      - b c": ("pulls.a.fields.1", 6, "field's name"),
    "pulls:\n  a: {table: x, display_value: both}": ("pulls.a.display_value", 2, "all, true or false"),
    "pulls:\n  a: {table: x, hidden_rows: no}": ("pulls.a.hidden_rows", 2, "warn"),
    'pulls:\n  a: {table: x, query: "a=1\\nb=2"}': ("pulls.a.query", 2, "one line"),
    'pulls:\n  a: {table: x, schedule: "2 * *"}': ("pulls.a.schedule.cron", 2, "five fields"),
    'pulls:\n  a: {table: x, schedule: "0 25 * * *"}': ("pulls.a.schedule.cron", 2, "hour"),
    "pulls:\n  a: {table: x, schedule: {cron: '@daily', timezone: Mars}}": ("pulls.a.schedule.timezone", 2, "Mars"),
    "defaults: {table: x}\npulls: {a: {table: x}}": ("defaults.table", 1, "each pull"),
    "defaults: {page_size: x}\npulls: {a: {table: x}}": ("defaults.page_size", 1, "1 to 10000"),
    "instance: {url: dev1}\npulls: {a: {table: x}}": ("instance.url", 1, "https://"),
    "instance: {max_workers: 0}\npulls: {a: {table: x}}": ("instance.max_workers", 1, "1 to 256"),
    "pulls: [": ("pulls", 0, "not YAML"),
    "pulls: *x": ("pulls", 0, "not YAML"),
}


@pytest.mark.parametrize("text", PROBLEMS)
def test_a_problem_names_key_line_and_the_way_out(tmp_path: Path, text: str) -> None:
    key, line, way_out = PROBLEMS[text]
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert caught.value.key == key
    told = str(caught.value)
    assert way_out in told
    assert str(path) in told
    assert "\n" not in told
    if line:
        assert f"line {line}" in told


def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    text = f"""
instance: {{url: "https://user:{SECRET}@dev1.service-now.com", password: {SECRET}, pasword: {SECRET}}}
pulls: {{a: {{table: x, token: {SECRET}}}}}
"""
    problems = find_problems(write(tmp_path, text))
    assert [problem.key for problem in problems] == [
        "instance.url",
        "instance.password",
        "instance.pasword",
        "pulls.a.token",
    ]
    assert SECRET not in " ".join(map(str, problems))
    assert "environment" in str(problems[1])


def test_the_first_problem_says_how_many_there_are(tmp_path: Path) -> None:
    path = write(tmp_path, "pulls:\n  a: {table: x, b: 1, c: 2, d: 3}")
    assert len(find_problems(path)) == 3
    with pytest.raises(ConfigError, match="and 2 more, see: snow-assets validate"):
        load_settings(path)


def test_an_unknown_pull_suggests_the_nearest(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, "pulls: {incidents: {table: incident}}"))
    with pytest.raises(ConfigError, match="did you mean incidents"):
        settings.pull("incident")


def test_the_environment_wins_over_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SNOW_DATA_DIR=there\nSNOW_PULLS=x/pulls.yaml\nSNOW_DBT_DIR=\n")
    environment = Environment.load(tmp_path, {"SNOW_DATA_DIR": "here"})
    assert environment.data_dir == str(tmp_path / "here")
    assert environment.pulls_path == tmp_path / "x" / "pulls.yaml"
    assert environment.dbt_dir == tmp_path / "dbt"
    assert environment.dagster_home == tmp_path / "x" / ".dagster"
    assert Environment.load(tmp_path, {"SNOW_DATA_DIR": "s3://bucket/a/"}).data_dir == "s3://bucket/a"


@pytest.mark.parametrize("url", ["dev1", "ftp://dev1.service-now.com", "https://a/b", "https://", "https://a:x", "h t"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="SNOW_INSTANCE_URL"):
        check_url(url, "SNOW_INSTANCE_URL")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"TOKEN": "t", "API_KEY": "k", "USERNAME": "u"}, "bearer"),
        ({"API_KEY": "k", "USERNAME": "u", "PASSWORD": "p"}, "api_key"),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": "s", "USERNAME": "u", "PASSWORD": "p"}, "oauth_password"),
        ({"TOKEN": "t", "REFRESH_TOKEN": "r"}, "bearer"),
        ({"API_KEY": "k", "REFRESH_TOKEN": "r", "CLIENT_ID": "c"}, "api_key"),
        ({"REFRESH_TOKEN": "r", "CLIENT_ID": "c", "CLIENT_SECRET": "s", "USERNAME": "u"}, "oauth_refresh_token"),
        ({"REFRESH_TOKEN": "r", "CLIENT_ID": "c", "CLIENT_SECRET": "s"}, "oauth_refresh_token"),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": "s"}, "oauth_client_credentials"),
        ({"USERNAME": "u", "PASSWORD": "p"}, "basic"),
    ],
)
def test_which_sign_in_is_used(given: dict[str, str], kind: str) -> None:
    environment = Environment({f"SNOW_{name}": value for name, value in given.items()}, Path())
    assert Credentials.from_environment(environment).kind == kind


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "SNOW_USERNAME"),
        ({"USERNAME": "u"}, "SNOW_PASSWORD"),
        ({"PASSWORD": SECRET}, "SNOW_USERNAME"),
        ({"CLIENT_ID": "c"}, "SNOW_CLIENT_SECRET"),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": SECRET, "USERNAME": "u"}, "SNOW_PASSWORD"),
        ({"REFRESH_TOKEN": SECRET}, "SNOW_CLIENT_ID and SNOW_CLIENT_SECRET"),
        ({"REFRESH_TOKEN": SECRET, "CLIENT_ID": "c"}, "SNOW_CLIENT_SECRET"),
        ({"REFRESH_TOKEN": SECRET, "CLIENT_SECRET": SECRET}, "SNOW_CLIENT_ID"),
        ({"REFRESH_TOKEN": SECRET, "USERNAME": "u", "PASSWORD": "p"}, "SNOW_CLIENT_ID and SNOW_CLIENT_SECRET"),
        ({"REFRESH_TOKEN": f"{SECRET}\n", "CLIENT_ID": "c", "CLIENT_SECRET": "s"}, "SNOW_REFRESH_TOKEN"),
        ({"TOKEN": f"{SECRET}\n"}, "SNOW_TOKEN"),
    ],
)
def test_half_of_a_sign_in_names_the_other_half(given: dict[str, str], named: str) -> None:
    environment = Environment({f"SNOW_{name}": value for name, value in given.items()}, Path())
    with pytest.raises(CredentialsError) as caught:
        Credentials.from_environment(environment)
    assert caught.value.key == named
    assert SECRET not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    credentials = Credentials.model_validate({"username": "u", "password": SECRET, "token": SECRET})
    assert SECRET not in repr(credentials) + str(credentials) + str(credentials.model_dump())
    assert credentials.secrets == (SECRET, SECRET)
