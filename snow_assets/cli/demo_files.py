"""The demonstration's pulls and faults."""

from __future__ import annotations

from typing import Any

PULLS = """\
# The pulls of the demonstration, against the embedded instance. The keys are explained in docs/pulls.md.
defaults:
  retry_backoff: 0.05          # seconds: there is nobody to spare here
  max_retries: 6

pulls:
  incidents:
    table: incident
    mode: delta                # read once; from then on what changed
    max_retries: 2
    description: Every incident, every column.

  incidents_closed:
    table: incident
    query: stateIN6,7^close_notesISNOTEMPTY^sys_updated_on>=javascript:gs.daysAgoStart(730)
    fields: [sys_id, number, short_description, close_notes, state, priority, urgency, impact,
             assignment_group, caller_id, assigned_to, opened_at, resolved_at]
    documents: true            # text and metadata for an index, and what changed since the last time
    description: What was solved, and how. A corpus for recommendations.

  incidents_active:
    table: incident
    query: stateIN1,2,3,4,5^opened_at>=javascript:gs.daysAgoStart(60)
    fields: [sys_id, number, short_description, state, priority, category, caller_id, opened_at]
    description: What is open now. A corpus for finding duplicates.
"""

# Faults that retries get over, each seen on real instances: one for each of the first pages. They leave the end of the
# table alone, where the lasting fault is.
_PASSING = ("html_503", "null_body", "rate_limited_429", "truncated", "reset_inside_body", "short_page")
PASSING: list[dict[str, Any]] = [
    {"kind": kind, "table": "incident", "request": "list", "narrow": False, "high": "c", "after": after, "times": 1}
    for after, kind in enumerate(_PASSING, start=1)
]


def lasting(sys_id: str) -> dict[str, Any]:
    """A fault that stays: whoever asks for the page with the row ``sys_id`` gets an error, until it is cleared."""
    return {"kind": "error_500", "table": "incident", "request": "list", "narrow": False, "sys_id": sys_id}
