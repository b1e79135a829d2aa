"""Steering a running simulator over HTTP, without sign-in: faults, the request log, the clock, the knobs.

``GET /simulator/faults`` lists the active rules, ``POST`` adds one (or a list) from a JSON or YAML body, ``DELETE``
removes all, or the one that ``?id=N`` names. ``GET /simulator/requests`` returns the request log (``?last=N`` the
newest N), ``DELETE`` empties it. ``GET /simulator/clock`` tells the instance's time, ``POST`` with a body such as
``2016-05-01 12:00:00`` moves it there, replaying an event log on the way. ``GET /simulator/knobs`` shows how the
instance is set, ``POST`` with a JSON map such as ``{"invalid_terms": "no_rows"}`` sets it. ``GET /simulator/columns``
lists the columns of ``?table=incident``; ``POST`` with a JSON map such as ``{"name": "u_color", "type": "string"}``
adds one, or changes the one of that name; ``DELETE`` with ``&name=u_color`` removes it. ``POST /simulator/log`` with a
number commits so many further versions of the event log. ``POST /simulator/rows`` with a JSON map such as
``{"undelete": "<sys_id>"}`` does what the Table API cannot: ``delete`` (without a log, of ``table``), ``undelete``,
``reclassify`` (of ``table``, ``into``), ``prune`` (the delete log, before a moment). ``POST /simulator/staging_tables``
with ``{"table": "u_people", "columns": ["login"]}`` makes a staging table, ``POST /simulator/transform_maps`` with
``source``, ``target``, ``fields``, ``coalesce`` a transform map, both as ``Simulator`` has them. ``GET
/simulator/imports`` lists the import sets that wait for their transform, ``POST`` with ``{"finish": 2}`` transforms so
many of them now (``true``: all).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snow_assets.simulator.clock import parse_moment
from snow_assets.simulator.faults import describe, read_rules
from snow_assets.simulator.knobs import configure, described
from snow_assets.simulator.wire import Asked, Reply, failure, json_reply

if TYPE_CHECKING:
    from snow_assets.simulator.instance import Simulator

PREFIX = "/simulator/"


def control(sim: Simulator, asked: Asked) -> Reply:
    """Answer a request whose path begins with ``PREFIX``."""
    match asked.path.removeprefix(PREFIX).strip("/"):
        case "faults":
            return _faults(sim, asked)
        case "requests":
            return _requests(sim, asked)
        case "clock":
            return _clock(sim, asked)
        case "knobs":
            return _knobs(sim, asked)
        case "columns":
            return _columns(sim, asked)
        case "log":
            return _log(sim, asked)
        case "rows":
            return _rows(sim, asked)
        case "staging_tables" | "transform_maps" as what:
            return _made(sim, asked, what)
        case "imports":
            return _imports(sim, asked)
        case _:
            known = "faults, requests, clock, knobs, columns, log, rows, staging_tables, transform_maps, imports"
            return failure(404, "No such control", f"known below /simulator/: {known}")


def _faults(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "DELETE":
        sim.faults.clear(int(asked.params["id"]) if asked.params.get("id", "").isdigit() else None)
    elif asked.method == "POST":
        try:
            text = asked.body.decode()
            sim.faults.add(
                *read_rules(text if text.lstrip().startswith(("[", "-")) or "faults" in text else f"[{text}]")
            )
        except (ValueError, UnicodeDecodeError) as error:
            return failure(400, "Invalid fault", str(error))
    return json_reply({"faults": describe(sim.faults.rules())})


def _requests(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "DELETE":
        sim.requests.clear()
    entries = sim.requests.as_documents()
    last = asked.params.get("last", "")
    return json_reply({"total": sim.requests.total, "requests": entries[-int(last) :] if last.isdigit() else entries})


def _clock(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "POST":
        try:
            sim.move_to(parse_moment(asked.body.decode()))
        except (ValueError, UnicodeDecodeError) as error:
            return failure(400, "Invalid moment", str(error))
    return json_reply({"now": sim.clock.now().isoformat(timespec="seconds")})


def _log(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "POST":
        text = asked.body.decode(errors="replace").strip()
        if not text.isdecimal():
            return failure(400, "Invalid number", f"{text!r} is no number of versions")
        sim.advance(int(text))
    return json_reply({"replayed": sim.replayed, "now": sim.clock.now().isoformat(timespec="seconds")})


def _rows(sim: Simulator, asked: Asked) -> Reply:
    try:
        match json.loads(asked.body or b"null"):
            case {"delete": str(sys_id), "table": str(table)}:
                sim.delete(table, sys_id, log=False)
            case {"undelete": str(sys_id)}:
                sim.undelete(sys_id)
            case {"reclassify": str(sys_id), "table": str(table), "into": str(into)}:
                sim.reclassify(table, sys_id, into)
            case {"prune": str(moment)}:
                return json_reply({"pruned": sim.prune_deletions(parse_moment(moment))})
            case _:
                return failure(400, "Invalid deed", "known: delete, undelete, reclassify, prune")
    except KeyError as error:
        return failure(404, "No such row", str(error))
    except ValueError as error:
        return failure(400, "Invalid deed", str(error))
    return json_reply({"done": True})


def _made(sim: Simulator, asked: Asked, what: str) -> Reply:
    """Make a staging table or a transform map."""
    try:
        document = json.loads(asked.body or b"null")
        if not isinstance(document, dict):
            raise ValueError("a JSON map is wanted")
        if what == "transform_maps":
            return json_reply({"sys_id": sim.transform_map(**document)})
        sim.staging_table(**document)
    except (ValueError, TypeError, AttributeError) as error:
        return failure(400, "Invalid table" if what == "staging_tables" else "Invalid map", str(error))
    return json_reply({"done": True})


def _imports(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "POST":
        try:
            document = json.loads(asked.body or b"null")
        except ValueError:
            document = None
        match document:
            case {"finish": bool(everything)}:
                sim.finish_imports(None if everything else 0)
            case {"finish": int(sets)}:
                sim.finish_imports(sets)
            case _:
                return failure(400, "Invalid deed", "known: finish, with a number of import sets or true")
    return json_reply({"waiting": sim.transforms.waiting()})


def _knobs(sim: Simulator, asked: Asked) -> Reply:
    if asked.method == "POST":
        try:
            document = json.loads(asked.body)
            if not isinstance(document, dict):
                raise ValueError("a JSON map is wanted")
            configure(sim.knobs, document)
        except ValueError as error:
            return failure(400, "Invalid knob", str(error))
    return json_reply({"knobs": described(sim.knobs)})


def _columns(sim: Simulator, asked: Asked) -> Reply:
    table, name = asked.params.get("table", ""), asked.params.get("name", "")
    if not sim.store.has(table):
        return failure(400, "Invalid table", f"there is no table {table!r}: name one with ?table=")
    try:
        if asked.method == "POST":
            _alter(sim, table, json.loads(asked.body))
        elif asked.method == "DELETE":
            sim.drop_column(table, name)
    except (ValueError, TypeError, KeyError) as error:
        return failure(400, "Invalid column", str(error))
    return json_reply({"columns": [asdict(column) for column in sim.store.columns.of(table).values()]})


def _alter(sim: Simulator, table: str, parts: dict[str, Any]) -> None:
    """Change the column that ``parts`` name, or add it where the table has none of that name."""
    name = str(parts.pop("name"))
    if "choices" in parts:
        parts["choices"] = tuple((str(value), str(label)) for value, label in parts["choices"])
    if name in sim.store.columns.of(table):
        sim.change_column(table, name, **parts)
    else:
        sim.add_column(table, name, **parts)
