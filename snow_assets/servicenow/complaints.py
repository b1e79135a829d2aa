"""What a fault means once nothing more is tried: the error, its words, and the way out."""

from __future__ import annotations

import re
from typing import Final, NoReturn

from snow_assets.errors import (
    CredentialsError,
    ForbiddenError,
    HostError,
    InstanceUnavailable,
    QueryError,
    RequestFailed,
    SnowError,
    UnknownTableError,
    WriteRefused,
)
from snow_assets.servicenow import faults
from snow_assets.servicenow.exchange import Request
from snow_assets.servicenow.pages import PageFault

WHEN_IT_ANSWERS: Final = "what landed stays; run it again when the instance answers"
_SORTED: Final = re.compile(r"ORDERBY(?:DESC)?([a-z0-9_.]+)")
_RANGE: Final = re.compile(r"sys_id(?:>=|<=|>|<|=|IN)[^^]*")


def describe(request: Request) -> str:
    """The request in words, for messages: ``page of incident, sys_id>=a sys_id<=b, limit 1000``."""
    if request.purpose == "file":
        return f"file of attachment {request.path.split('/')[-2]}"
    if request.method in ("PATCH", "DELETE"):
        return f"{request.purpose} of {table_of(request)} {request.path.rpartition('/')[2]}"
    query = request.params.get("sysparm_query", "")
    terms = " ".join(
        term if len(term) < 90 else f"{term[:90]}..." for term in _RANGE.findall(query.partition("^NQ")[0])
    )
    offset = f"offset {request.params['sysparm_offset']}" if "sysparm_offset" in request.params else ""
    limit = f"limit {request.limit}" if request.limit else ""
    return ", ".join(part for part in (f"{request.purpose} of {table_of(request)}", terms, offset, limit) if part)


def table_of(request: Request) -> str:
    """The table that ``request`` reads, from its path."""
    parts = request.path.split("?")[0].strip("/").split("/")
    if request.purpose == "file":
        return "sys_attachment"
    for kind in ("table", "stats", "import"):
        if kind in parts[:-1]:
            return parts[parts.index(kind) + 1]
    return parts[-1]


def stop(problem: PageFault, request: Request, tries: int) -> NoReturn:
    """Raise the error that ``problem`` means once nothing more is tried."""
    raise error_of(faults.get(problem.name), f"{describe(request)}: {said_of(problem)}", request, tries) from problem


def said_of(problem: PageFault) -> str:
    """The fault and what was seen of it."""
    return f"{problem.name} ({problem.detail})" if problem.detail else problem.name


def error_of(fault: faults.Fault, message: str, request: Request, tries: int) -> SnowError:
    """The error that ``fault`` means after ``tries`` tries."""
    table = table_of(request)
    match fault.name:
        case "forbidden" | "forbidden_query" | "bad_request" if request.method != "GET":
            return WriteRefused(message, key="table", value=table, hint="the instance's own words say why")
        case "unauthorized" | "login_page":
            return credentials_error(message)
        case "forbidden" | "forbidden_api" | "forbidden_query":
            return ForbiddenError(message, key="table", value=table, hint=_missing_right(fault.name, request))
        case "unknown_table":
            return UnknownTableError(message, key="table", value=table, hint="check the spelling: names are lower case")
        case "bad_request":
            return QueryError(message, key="table", value=table, hint="check query and fields")
        case "not_found" if request.purpose not in ("record", "file", "update", "delete"):
            hint = "check the table, and that the address is the instance's own"
            return UnknownTableError(message, key="table", value=table, hint=hint)
        case "proxy_sign_in":
            return HostError(message, key="proxy", hint="give the proxy's user and password in the url in SNOW_PROXY")
        case "unknown_host" | "dns" | "tls_certificate" | "redirect":
            return HostError(message, hint=_HOST_HINTS[fault.name])
    if fault.outage:
        tried = f"{message}; tried {tries} times"
        return InstanceUnavailable(tried, hint=WHEN_IT_ANSWERS)
    return RequestFailed(f"{message}; tried {tries} times", fault=fault.name, hint="run it again")


_HOST_HINTS: Final = {
    "unknown_host": "check the instance's url",
    "dns": "check the instance's url, and this machine's name server",
    "tls_certificate": "set ca_bundle to the certificate authority's file, or check the url",
    "redirect": "set the url to the instance's own address; sign-in pages cannot be passed",
}


def credentials_error(message: str) -> CredentialsError:
    """The one error for credentials that the instance refuses."""
    hint = "check user name and password, or the token; the account must be active and not locked out"
    return CredentialsError(message, hint=hint)


def _missing_right(name: str, request: Request) -> str:
    table = table_of(request)
    if name == "forbidden_api":
        return "the account needs the role snc_platform_rest_api_access, or what the REST API's ACL asks for"
    if name == "forbidden_query":
        ordered = dict.fromkeys(_SORTED.findall(request.params.get("sysparm_query", "")))
        return (
            f"grant read, query_match and query_range on {table} and on every field of the query, "
            f"{', '.join(ordered) or 'sys_id'} included; sorting needs query_range"
        )
    return f"grant the account read access to {table}"
