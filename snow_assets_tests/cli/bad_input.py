"""Broken configurations, credentials, files and arguments: what is given, and what the one line must name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PULL = ("pull", "incidents")
SECRET = "geheim"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@dataclass(frozen=True)
class Case:
    """One mistake. ``named``: words of the line; ``files``: beside ``pulls.yaml``, ``None`` for a folder."""

    name: str
    named: tuple[str, ...]
    pulls: str | bytes | None = None
    arguments: tuple[str, ...] = PULL
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str | bytes | None] = field(default_factory=dict)
    real: bool = False  # in a process of its own


def pull_with(name: str, text: str, *named: str, real: bool = False) -> Case:
    """``pulls.yaml`` with one pull of incident, and ``text`` on the third line."""
    pulls = f"pulls:\n  incidents:\n    {text}\n    table: incident\n"
    return Case(name, ("pulls.incidents.", "line 3", *named), pulls, real=real)


def named_pull(name: str, pull: str, *named: str) -> Case:
    """A pull with a name that cannot be one."""
    return Case(name, (f"pulls.{pull}", "line 2", *named), f"pulls:\n  {pull or repr('')}: {{table: incident}}\n")


def query(name: str, text: str, *named: str) -> Case:
    """A query that is refused before anything is asked, or by the instance's own answer."""
    return Case(name, ("query", *named), f"pulls:\n  incidents:\n    query: {text}\n    table: incident\n")


def variable(case: str, name: str, value: str, *named: str, **others: str) -> Case:
    """A variable of the environment that is wrong. ``SNOW_`` is put before the names."""
    return Case(case, named, variables={f"SNOW_{key}": text for key, text in {name: value, **others}.items()})


def command(line: str, *named: str, files: Mapping[str, str | bytes | None] | None = None, real: bool = False) -> Case:
    """A command line, split at blanks."""
    return Case(line, named, arguments=tuple(line.split(" ")), files=files or {}, real=real)


NO_CREDENTIALS = {"USERNAME": "", "PASSWORD": ""}

FILES = [
    Case("no pulls.yaml", ("pulls", "nosuch.yaml", "init"), arguments=(*PULL, "--pulls", "nosuch.yaml"), real=True),
    Case("empty", ("pulls", "empty", "pulls:"), ""),
    Case("only a comment", ("pulls", "empty"), "# nothing\n"),
    Case(
        "a directory", ("pulls", "folder", "directory"), arguments=(*PULL, "--pulls", "folder"), files={"folder": None}
    ),
    Case("bytes", ("pulls.yaml", "UTF-8"), b"pulls: {\xff\xfe: 1}", real=True),
    Case("UTF-16", ("pulls.yaml", "UTF-8"), "pulls: {}".encode("utf-16")),
    Case("a NUL", ("pulls.yaml", "not YAML"), "pulls: {\0}"),
    Case("tabs", ("pulls.yaml", "line 2", "spaces"), "pulls:\n\tincidents: {table: incident}\n"),
    Case("duplicate keys", ("table", "line 4", "twice"), "pulls:\n  incidents:\n    table: a\n    table: b\n"),
    Case("not a mapping", ("pulls.yaml", "not a map"), "- incidents\n"),
    Case("prose", ("pulls.yaml", "not a map"), "pull all incidents please\n"),
    Case("pulls is a list", ("pulls", "not a map", "line 1"), "pulls: [incidents]\n"),
    Case("a pull is a table", ("pulls.incidents", "'incident'", "table:"), "pulls: {incidents: incident}\n"),
    Case("a pull is nothing", ("pulls.incidents", "table:"), "pulls:\n  incidents:\n"),
    Case("no table", ("pulls.incidents.table", "missing"), "pulls: {incidents: {query: active=true}}\n"),
    Case("unknown section", ("pull", "did you mean pulls?"), "pull: {incidents: {table: incident}}\n"),
    Case("unclosed", ("pulls.yaml", "not YAML", "line"), "pulls: {incidents: {table: incident\n", real=True),
    Case("a python object", ("pulls", "not a map"), "pulls: !!python/object/apply:os.system ['touch owned']\n"),
    Case("a tagged value", ("pulls.incidents.table",), "pulls: {incidents: {table: !!python/name:os.system }}\n"),
    Case("a bomb of aliases", ("pulls.yaml", "aliases"), f"{BOMB}pulls: {{incidents: {{table: incident}}}}\n"),
    Case("a loop of aliases", ("pulls",), "pulls: &a {incidents: *a}\n"),
    Case("deep", ("pulls.yaml",), "pulls: " + "[" * 400),
    Case("two documents", ("pulls.yaml", "document"), "pulls: {incidents: {table: incident}}\n---\npulls: {}\n"),
    Case(
        "names that differ by case",
        ("pulls.Incidents", "incidents", "case"),
        "pulls:\n  incidents: {table: incident}\n  Incidents: {table: incident}\n",
    ),
    Case("a placeholder in the table", ("table", "${TABLE}"), "pulls: {incidents: {table: '${TABLE}'}}\n"),
    Case("a secret", ("instance.password", "SNOW_PASSWORD"), f"instance: {{password: {SECRET}}}\npulls: {{}}\n"),
    Case(
        "a default that is wrong",
        ("defaults.page_size", "line 1"),
        "defaults: {page_size: no}\npulls: {a: {table: b}}\n",
    ),
    Case("a default for all tables", ("defaults.table", "each pull"), "defaults: {table: x}\npulls: {a: {table: b}}\n"),
    Case(".env is not text", (".env", "UTF-8"), files={".env": b"SNOW_TOKEN=\xff\n"}),
    Case(".env is a folder", (".env",), files={".env": None}),
    Case(".env has a line that is none", (".env", "line 2"), files={".env": "SNOW_DATA_DIR=x\nSNOW_TOKEN geheim\n"}),
    Case("data is a file", ("data", "file"), arguments=(*PULL, "--data", "file"), files={"file": "x"}, real=True),
    Case("data below a file", ("data", "file"), arguments=(*PULL, "--data", "file/data"), files={"file": "x"}),
    Case("data is a URL of nobody", ("data", "gopher://x"), arguments=(*PULL, "--data", "gopher://x")),
    Case("data is a URL without a bucket", ("data", "s3://"), arguments=(*PULL, "--data", "s3://")),
    Case("data of status is a file", ("data", "file"), arguments=("status", "--data", "file"), files={"file": "x"}),
    Case("dagster home is a file", ("DAGSTER_HOME", "home"), variables={"DAGSTER_HOME": "home"}, files={"home": "x"}),
    Case(
        "dagster.yaml is broken",
        ("DAGSTER_HOME", "dagster.yaml"),
        variables={"DAGSTER_HOME": "home"},
        files={"home/dagster.yaml": "concurrency: [\n"},
    ),
    Case(
        "dagster.yaml has unknown keys",
        ("DAGSTER_HOME", "dagster.yaml", "nosuch"),
        variables={"DAGSTER_HOME": "home"},
        files={"home/dagster.yaml": "nosuch: 1\n"},
    ),
    Case(
        "ca_bundle is missing",
        ("ca_bundle", "no.pem"),
        "instance: {ca_bundle: no.pem}\npulls: {incidents: {table: a}}\n",
    ),
    Case(
        "ca_bundle is no PEM",
        ("ca_bundle", "my.pem", "PEM"),
        "instance: {ca_bundle: my.pem}\npulls: {incidents: {table: a}}\n",
        files={"my.pem": "not a certificate\n"},
    ),
    Case("proxy is no URL", ("proxy", "http://HOST:PORT"), "instance: {proxy: foo}\npulls: {incidents: {table: a}}\n"),
]

KEYS = [
    pull_with("unknown key", "pge_size: 5", "pge_size", "'5'", "page_size?"),
    pull_with("unknown key like none", "zzz: 5", "zzz", "known keys"),
    pull_with("page_size 0", "page_size: 0", "page_size", "'0'", "1 to 10000"),
    pull_with("page_size 10001", "page_size: 10001", "page_size", "'10001'", "1 to 10000"),
    pull_with("page_size in words", "page_size: ten", "page_size", "'ten'", "whole number"),
    pull_with("page_size 1.5", "page_size: 1.5", "page_size", "'1.5'", "whole number"),
    pull_with("page_size true", "page_size: true", "page_size", "'true'", "whole number"),
    pull_with("page_size null", "page_size:", "page_size", "'null'", "1 to 10000"),
    pull_with("max_workers 0", "max_workers: 0", "max_workers", "'0'", "1 to 256"),
    pull_with("max_workers -1", "max_workers: -1", "max_workers", "'-1'", "1 to 256"),
    pull_with("max_retries -1", "max_retries: -1", "max_retries", "'-1'", "0 to 100"),
    pull_with("retry_backoff in words", "retry_backoff: soon", "retry_backoff", "'soon'", "seconds"),
    pull_with("timeout 0", "timeout: 0", "timeout", "'0'", "seconds"),
    pull_with("timeout negative", "timeout: -3", "timeout", "'-3'", "seconds"),
    pull_with("timeout nan", "timeout: .nan", "timeout", "'nan'", "seconds"),
    pull_with("timeout of another shape", "timeout: [1, 2]", "timeout", "[1, 2]", "seconds"),
    pull_with("timeout with an unknown key", "timeout: {raed: 1}", "timeout.raed", "read?"),
    pull_with("max_plan_age in prose", "max_plan_age: 1 day-ish", "max_plan_age", "'1 day-ish'", "24h"),
    pull_with("max_wait negative", "max_wait: -5", "max_wait", "'-5'", "15m"),
    pull_with("slice_rows 0", "slice_rows: 0", "slice_rows", "'0'", "1 or more"),
    pull_with("slices_per_run 0", "slices_per_run: 0", "slices_per_run", "'0'", "1 to 10000"),
    pull_with("repair_attempts in words", "repair_attempts: often", "repair_attempts", "'often'", "0 to 100"),
    pull_with("cron of four fields", 'schedule: "0 2 * *"', "schedule.cron", "'0 2 * *'", "five fields"),
    pull_with("cron with an hour 25", 'schedule: "0 25 * * *"', "schedule.cron", "hour", "25"),
    pull_with("cron that never comes", 'schedule: "0 2 31 2 *"', "schedule.cron", "'0 2 31 2 *'", "never"),
    pull_with("schedule without cron", "schedule: {timezone: UTC}", "schedule.cron", "missing"),
    pull_with(
        "unknown time zone", 'schedule: {cron: "0 2 * * *", timezone: Mars}', "timezone", "'Mars'", "Europe/Berlin"
    ),
    pull_with("fields empty", "fields: []", "fields", "empty", "all columns"),
    pull_with("fields twice", "fields: [state, state]", "fields", "state twice"),
    pull_with("fields in one text", "fields: number,state", "fields", "'number,state'", "write a list"),
    pull_with("a field with a comma", 'fields: ["number,state"]', "fields.0", "'number,state'", "field's name"),
    pull_with("a field with a blank", "fields: [number, my state]", "fields.1", "'my state'"),
    pull_with("a field that is a number", "fields: [1]", "fields.0", "'1'"),
    pull_with("display_value yes", "display_value: yes please", "display_value", "'yes please'", "all, true or false"),
    pull_with("hidden_rows ignore", "hidden_rows: ignore", "hidden_rows", "'ignore'", "warn"),
    pull_with("unreadable_rows ignore", "unreadable_rows: ignore", "unreadable_rows", "'ignore'", "skip"),
    pull_with("description is a list", "description: [a]", "description", "text"),
    pull_with("group with a blank", "group: my group", "group", "'my group'", "letters"),
    pull_with("query is no text", "query: [active=true]", "query", "text", real=True),
    pull_with("query is a map", "query: {active: true}", "query", "active: true"),
    pull_with("query with a line break", '"query": "a=1\\nb=2"', "query", "one line"),
    pull_with("query too long", f"query: number={'x' * 9000}", "query", "7000"),
    Case("table with a slash", ("table", "'a/b'", "incident"), "pulls: {incidents: {table: a/b}}\n"),
    Case("table with a blank", ("table", "'my table'"), "pulls: {incidents: {table: my table}}\n"),
    Case("table with SQL", ("table", "DROP"), "pulls: {incidents: {table: 'x; DROP TABLE incident'}}\n"),
    Case("table in capitals", ("table", "'INCIDENT'", "incident"), "pulls: {incidents: {table: INCIDENT}}\n"),
    Case("table is a number", ("table", "'5'"), "pulls: {incidents: {table: 5}}\n"),
    Case("unknown table", ("table", "incidnt"), "pulls: {incidents: {table: incidnt}}\n"),
    Case("unknown field", ("fields", "nosuch"), "pulls: {incidents: {table: incident, fields: [nosuch]}}\n"),
    named_pull("a pull with a slash", "a/b", "rename"),
    named_pull("a pull with dots", "../a", "rename"),
    named_pull("a pull with a blank", "my pull", "rename"),
    named_pull("a pull with a dash", "my-pull", "rename"),
    named_pull("a pull that is empty", "", "rename"),
    named_pull("a pull that is a number", "5", "rename"),
    named_pull("a pull that is too long", "p" * 101, "rename"),
    named_pull("a pull named like a device", "nul", "rename"),
]

QUERIES = [
    query("unknown operator", "active~true", "active~true"),
    query("no operator", "active", "'active'"),
    query("an operator in lower case", "numberlike5", "numberlike5"),
    query("JOIN", "JOINincident.sys_id=task.parent", "JOIN"),
    query("RLQUERY", "RLQUERYtask_sla.task,>0^ENDRLQUERY", "RLQUERY"),
    query("text search", "123TEXTQUERY321=mail", "123TEXTQUERY321"),
    query("two carets", "active=true^^priority=1", "^^"),
    query("OR without a term before it", "^ORactive=true", "OR"),
    query("an empty group", "^NQactive=true", "NQ"),
    query("a URL-encoded query", "active%3Dtrue%5Epriority%3D1", "encoded"),
    query("a field that is not there", "nosuch=1^active=true", "nosuch", "drop"),
    query("an order by nothing", "active=true^ORDERBY", "ORDERBY"),
]

CREDENTIALS = [
    variable("no password", "PASSWORD", "", "SNOW_PASSWORD", "SNOW_USERNAME", "set both"),
    variable("no user", "USERNAME", "", "SNOW_USERNAME", "SNOW_PASSWORD", "set both"),
    variable("nothing", "USERNAME", "", "SNOW_USERNAME", "SNOW_TOKEN", "SNOW_API_KEY", PASSWORD=""),
    variable("no client secret", "CLIENT_ID", "c", "SNOW_CLIENT_SECRET", "SNOW_CLIENT_ID"),
    variable("no client id", "CLIENT_SECRET", SECRET, "SNOW_CLIENT_ID", "SNOW_CLIENT_SECRET"),
    variable("a wrong password", "PASSWORD", SECRET, "SNOW_USERNAME", "admin"),
    variable("a wrong token", "TOKEN", SECRET, "SNOW_TOKEN", **NO_CREDENTIALS),
    variable("a wrong API key", "API_KEY", SECRET, "SNOW_API_KEY", **NO_CREDENTIALS),
    variable("a password with a line break", "PASSWORD", f"{SECRET}\n", "SNOW_PASSWORD", "line break"),
    variable("a user with a tab", "USERNAME", "ad\tmin", "SNOW_USERNAME", "control character"),
    variable("a user with a colon", "USERNAME", "ad:min", "SNOW_USERNAME", "colon"),
    variable("a token with Bearer", "TOKEN", f"Bearer {SECRET}", "SNOW_TOKEN", "a space", **NO_CREDENTIALS),
    variable("an API key with a blank", "API_KEY", f"{SECRET} x", "SNOW_API_KEY", "a space", **NO_CREDENTIALS),
    variable("a token that is not Latin", "TOKEN", f"{SECRET}\u2026", "SNOW_TOKEN", "character", **NO_CREDENTIALS),
]

ADDRESSES = [
    variable("no address", "INSTANCE_URL", "", "SNOW_INSTANCE_URL", "set"),
    variable("a bare name", "INSTANCE_URL", "dev1", "SNOW_INSTANCE_URL", "'dev1'", "https://"),
    variable("ftp", "INSTANCE_URL", "ftp://dev1.service-now.com", "SNOW_INSTANCE_URL", "'ftp://", "https://"),
    variable("a path", "INSTANCE_URL", "https://dev1.service-now.com/nav_to.do", "SNOW_INSTANCE_URL", "nav_to.do"),
    variable(
        "credentials", "INSTANCE_URL", f"https://u:{SECRET}@dev1.service-now.com", "SNOW_INSTANCE_URL", "SNOW_PASSWORD"
    ),
    variable("a port out of range", "INSTANCE_URL", "https://dev1.service-now.com:99999", "SNOW_INSTANCE_URL", "port"),
    variable("a port in words", "INSTANCE_URL", "https://dev1.service-now.com:web", "SNOW_INSTANCE_URL", "port"),
    variable("no host", "INSTANCE_URL", "https://", "SNOW_INSTANCE_URL", "'https://'"),
    variable("a broken IPv6 address", "INSTANCE_URL", "https://[::1", "SNOW_INSTANCE_URL", "URL"),
    variable(
        "plain http", "INSTANCE_URL", "http://dev1.service-now.com", "SNOW_INSTANCE_URL", "https://", "allow_http"
    ),
    variable(
        "a host with a blank", "INSTANCE_URL", "https://dev 1.service-now.com", "SNOW_INSTANCE_URL", "'https://dev 1"
    ),
    variable(
        "an unknown host", "INSTANCE_URL", "https://no-such-instance.invalid", "SNOW_INSTANCE_URL", "no-such-instance"
    ),
    Case("a broken url in the file", ("instance.url", "line 1"), "instance: {url: dev1}\npulls: {a: {table: b}}\n"),
    Case("allow_http in words", ("allow_http", "'sure'"), "instance: {allow_http: sure}\npulls: {a: {table: b}}\n"),
]

ARGUMENTS = [
    command("pul", "pull?", real=True),
    command("zzz", "zzz", "--help"),
    command("pull", "--all"),
    command("pull incidents --all", "--all"),
    command("pull incident", "pull 'incident'", "incidents?"),
    command("pull incidents nosuch", "pull 'nosuch'", "there are: incidents, active"),
    command("pull incidents --nwe", "--nwe", "--new"),
    command("pull incidents --accept", "--accept", "argument"),
    command("pull incidents --accept 20200101T000000Z", "--accept '20200101T000000Z'", "no plan"),
    command("pull incidents --accept yesterday", "--accept 'yesterday'", "no plan"),
    command("pull incidents active --accept 20200101T000000Z", "--accept", "one pull"),
    command("pull incidents --new --accept 20200101T000000Z", "--accept", "--new"),
    command("plan", "NAME"),
    command("plan incidents active", "active"),
    command("plan nosuch", "pull 'nosuch'", "there are: incidents, active"),
    command("check nosuch", "pull 'nosuch'"),
    command("status incident", "incidents?"),
    command("status ../x", "pull '../x'"),
    command("files", "NAME"),
    command("files incidents", "pull 'incidents'", "nothing is published", "snow-assets pull incidents"),
    command("files incident", "pull 'incident'", "incidents?"),
    command("files ../x", "pull '../x'"),
    command("table incidents", "nothing is published"),
    command("jsonl incidents", "nothing is published"),
    command("jsonl incidents --out no/such/folder/x", "--out 'no/such/folder/x'", "folder"),
    command("jsonl incidents --out folder", "--out", "folder", files={"folder": None}),
    command("sql", "QUERY"),
    command("sql selec", "sql", "selec"),
    command("sql select --format xlsx", "--format", "xlsx", "csv"),
    Case("sql of what is not published", ("sql", "nothing is published"), arguments=("sql", "select * from incidents")),
    Case("sql that is empty", ("query", "empty"), arguments=("sql", " ")),
    command("count", "TABLE"),
    command("count a/b", "table", "'a/b'"),
    command("count incidnt", "table", "incidnt"),
    command("count incident --query nosuch=1", "query", "nosuch"),
    command("count incident --query active~1", "query", "active~1"),
    command("validate extra", "extra"),
    command("init", "pulls.yaml", "exists already", "--pulls"),
    command("init --pulls other.yaml --from a/b", "--from 'a/b'", "incident"),
    command("init --pulls other.yaml --from nosuch", "nosuch"),
    command("init --pulls file/pulls.yaml", "file", files={"file": "x"}),
    command("simulate --rows incident", "--rows 'incident'", "incident=20000"),
    command("simulate --rows nosuch=5", "--rows", "nosuch"),
    command("simulate --rows incident=-5", "--rows 'incident=-5'"),
    command("simulate --rows incident=", "--rows 'incident='"),
    command("simulate --at yesterday", "--at 'yesterday'", "2016-05-01T12:00:00"),
    command("simulate --port 65536", "--port", "65536"),
    command("simulate --port web", "--port", "web"),
    command("simulate --seed x", "--seed", "'x'"),
    command("simulate --faults nosuch.yaml", "--faults", "nosuch.yaml"),
    command("simulate --faults f.yaml", "--faults", "f.yaml", files={"f.yaml": "[\n"}),
    command(
        "simulate --faults f.yaml --port 0", "--faults", "kind", "error_5000", files={"f.yaml": "- kind: error_5000\n"}
    ),
    command("simulate --port {port}", "--port", "0 takes"),
    command("simulate --event-log log.csv", "--event-log", files={"log.csv": "a,b\n1,2\n"}),
    command("demo --rows 0", "--rows", "0", "1000"),
    command("demo --rows many", "--rows", "many"),
    command("demo --folder mine", "folder", "mine", files={"mine/notes.txt": "do not lose me"}),
    command("demo --folder file", "--folder", "file", files={"file": "x"}),
    command("status --log-level loud", "--log-level", "loud", "debug"),
    command("status --pulls", "--pulls"),
]

CASES = [*FILES, *KEYS, *QUERIES, *CREDENTIALS, *ADDRESSES, *ARGUMENTS]
