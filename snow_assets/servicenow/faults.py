"""The one table of faults: everything that an instance, or the way to it, does wrong.

Retry decisions, log lines, ledger counters, the documentation and the test matrix derive from ``FAULTS``.

What the columns mean for a request that met the fault:

* ``retry``: it is sent again, after a wait with full jitter, up to ``max_retries`` times.
* ``halve``: a request for many rows is not repeated; its caller asks for half as many rows, at once.
* ``halve_at_last``: the same, but only once the retries are used up.
* ``pause``: the instance asks for less. The waits do not use up retries (``max_wait`` bounds their sum), and where
  the instance names a time, every thread of the client waits for it, once.
* ``fatal``: no retry can help; the run stops. With ``retry``: once more in a new session first.
* ``outage``: when it lasts, the instance as a whole cannot be used, not only this request.
* ``unheard``: nothing was heard of the instance; it may be down, or this request may be too much for it.
* ``undone``: a write that met it was surely not carried out. After any other fault it may have been, and is looked for
  before it is sent again (see ``writing``).

Before a request fails for an ``outage`` or ``unheard`` fault, a small one asks whether the instance is there at all;
where it is not, all threads wait until it is back (see ``budget``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table. ``recognised_by`` is a phrase for the documentation."""

    name: str
    recognised_by: str
    retry: bool = True
    halve: bool = False
    halve_at_last: bool = False
    pause: bool = False
    fatal: bool = False
    outage: bool = False
    unheard: bool = False
    undone: bool = False

    @property
    def down(self) -> bool:
        """Whether a dead instance shows it."""
        return self.outage or self.unheard


_TABLE: Final = (
    # On the way: what the transport reports instead of an answer.
    Fault("timeout", "no complete answer within the read time-out", halve=True, unheard=True),
    Fault(
        "too_slow",
        "a body that drips: bytes arrive, but not all within connect plus read time-out",
        halve=True,
        unheard=True,
    ),
    Fault("connect_timeout", "no connection within the connect time-out", outage=True, undone=True),
    Fault("connection_refused", "nobody listens at the address, or it cannot be reached", outage=True),
    Fault("connection_reset", "the connection ended before or inside the answer", halve_at_last=True, unheard=True),
    Fault("unknown_host", "the name server knows no such host", retry=False, fatal=True, undone=True),
    Fault("dns", "the name server did not answer", unheard=True, undone=True),
    Fault("tls", "the TLS handshake failed", outage=True),
    Fault(
        "tls_certificate", "the certificate is not trusted, or names another host", retry=False, fatal=True, undone=True
    ),
    Fault("proxy", "the proxy refused or could not reach the instance", outage=True),
    Fault("proxy_sign_in", "status 407: the proxy wants a user and a password", retry=False, fatal=True, undone=True),
    Fault("broken_gzip", "the body cannot be decompressed", halve_at_last=True),
    Fault("truncated_body", "fewer bytes than Content-Length, or chunks without an end", halve=True),
    Fault("no_token", "the token endpoint hangs, fails or answers without a token", outage=True, undone=True),
    Fault("transport", "any other failure to exchange a request for an answer", unheard=True),
    # By status.
    Fault("accepted_202", "status 202: dropped, too many requests waited on one session"),
    Fault("redirect", "status 3xx: a login page or another host", fatal=True),
    Fault(
        "bad_request", "status 400 and other 4xx: the request itself is refused", retry=False, fatal=True, undone=True
    ),
    Fault("unknown_table", "status 400, `Invalid table`", retry=False, fatal=True, undone=True),
    Fault("unauthorized", "status 401: wrong credentials, or an expired session or token", fatal=True, undone=True),
    Fault("token_ended", "status 401 for a token that was accepted before, or was replaced meanwhile", undone=True),
    Fault("forbidden", "status 403: a right is missing", retry=False, fatal=True),
    Fault("forbidden_query", "status 403, `Insufficient rights to query records`", retry=False, fatal=True),
    Fault(
        "forbidden_api",
        "status 403, `Failed API level ACL Validation`: also a session that lost its roles",
        fatal=True,
        undone=True,
    ),
    Fault("not_found", "status 404: no such record, or no such address", retry=False, fatal=True, undone=True),
    Fault("too_many_requests", "status 429 without a time: the node's queue is full", pause=True, undone=True),
    Fault("rate_limited", "status 429 with Retry-After or X-RateLimit-Reset: a rate rule", pause=True, undone=True),
    Fault("server_error", "status 500, or another 5xx", halve_at_last=True),
    Fault("gateway_error", "status 408, 499, 502, 503 or 504: restart, upgrade, maintenance, front end", outage=True),
    Fault("unexpected_status", "any other status"),
    # Status 200, but not a page.
    Fault("execution_time", "`maximum execution time exceeded`, in a 500, beside rows, or in broken JSON", halve=True),
    Fault("error_in_200", "status 200 with an `error`, or a status of failure, beside the rows", halve_at_last=True),
    Fault("hibernating", "a page that says `Your instance is hibernating`", outage=True),
    Fault("offline", "a page that says `Your instance is currently offline`: waking up", outage=True),
    Fault("login_page", "an HTML page with a sign-in form", fatal=True),
    Fault("html", "any other HTML page", outage=True),
    Fault("wrong_content_type", "a content type that is neither JSON nor HTML"),
    Fault("empty_body", "status 200 with zero bytes"),
    Fault("null_body", "status 200 with the JSON value `null`"),
    Fault("list_body", "status 200 with a JSON list instead of an object"),
    Fault("not_an_object", "status 200 with another JSON value"),
    Fault("no_result", "an object without a `result` of the expected kind"),
    Fault("truncated_json", "JSON that ends in the middle", halve=True),
    Fault("malformed_json", "JSON that cannot be parsed", halve_at_last=True),
    Fault("malformed_count", "a count that is not a number"),
    # A page, but not the one that was asked for.
    Fault("malformed_record", "a record that is not an object, or a value that is not one of the platform's"),
    Fault("missing_sys_id", "a record without a sys_id, or with an empty one"),
    Fault("duplicate_sys_id", "one sys_id twice in a page"),
    Fault("repeated_page", "rows that a page before already held"),
    Fault("too_many_rows", "more rows than the limit"),
    Fault("out_of_order", "a sys_id that is not above the one before"),
    Fault("out_of_range", "a sys_id outside the bounds that were asked for"),
    Fault("missing_fields", "a field that the plan's probe had is absent from a whole page"),
    # A record, but not the one that was written.
    Fault("wrong_record", "a write's answer that tells of another record"),
    # A file, but not the one that was asked for.
    Fault("wrong_file", "a file whose size or SHA-256 is not what its record says"),
)

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType({fault.name: fault for fault in _TABLE})
"""Every fault by its name, in the order in which the documentation lists them."""


def get(name: str) -> Fault:
    """The fault called ``name``; ``KeyError`` for a name that the table lacks."""
    return FAULTS[name]
