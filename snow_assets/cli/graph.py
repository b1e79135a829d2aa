"""``snow-assets graph``: the CIs and relations of a pull of ``cmdb_rel_ci``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from snow_assets.cli.app import App, command_options, complete_pull
from snow_assets.errors import ConfigError

if TYPE_CHECKING:
    from snow_assets.documents.cmdb import RelationGraph, Step

_MOST = 5  # CIs of one name that are told


@click.command()
@click.argument("name", metavar="PULL", shell_complete=complete_pull)
@click.option("--from", "start", metavar="CI", help="Walk from this CI: its sys_id, or its name.")
@click.option(
    "--direction",
    type=click.Choice(["down", "up", "both"]),
    help="From parents to children, up, or both.  [down]",
)
@click.option("--depth", type=click.IntRange(min=0), metavar="N", help="The most relations to follow.  [all]")
@click.option("--type", "types", multiple=True, metavar="TYPE", help='Only these, such as "Depends on"; repeatable.')
@click.option("--cis", metavar="PULL", help="The pull of CIs that gives their classes.  [graph.cis of PULL]")
@click.option("--again", is_flag=True, help="Write every file anew, also where the export is there.")
@command_options
def graph(
    app: App,
    name: str,
    start: str | None,
    direction: str | None,
    depth: int | None,
    types: tuple[str, ...],
    cis: str | None,
    again: bool,
) -> None:
    """Export the CIs and relations that PULL, a pull of cmdb_rel_ci, has published; or walk them.

    With --from it prints the CIs that can be come to, each once, below the CI before it; else it writes a file of edges
    and one of nodes, unless they are there, and prints figures.
    """
    pull = app.known(name)
    declared = app.declared.pulls.get(pull) if app.declared else None
    cis = app.known(cis) if cis else (declared.graph.cis if declared and declared.graph else None)
    if start is not None:
        if again:
            raise ConfigError("writes files, and --from writes none", key="--again", hint="leave one of them out")
        _walk(app, pull, cis, start, direction or "down", depth, types)
        return
    given = {"--direction": direction, "--depth": depth, "--type": types or None}
    astray = next((option for option, value in given.items() if value is not None), None)
    if astray:
        raise ConfigError("needs a CI to walk from", key=astray, hint="give --from")
    _export(app, pull, cis, again=again)


def _export(app: App, pull: str, cis: str | None, *, again: bool) -> None:
    from snow_assets.documents.cmdb.export import export_graph, home_of
    from snow_assets.pulls import lease
    from snow_assets.pulls.live import live_rows

    landing = app.landing(pull)
    live_rows(landing)  # nothing is made where nothing is published
    with lease(home_of(landing), f"snow-assets graph, process {os.getpid()}"):
        found = export_graph(landing, cis=cis, again=again)
    figures = found.figures
    lacking = figures.relations - figures.edges
    lines = [
        f"{figures.nodes:,} CIs and {figures.relations:,} relations of plan {found.plan}",
        f"{figures.types:,} types, {figures.duplicates:,} duplicates, {figures.loops:,} loops, {lacking:,} lack an end",
        f"{found.components:,} components, the largest of {found.largest:,} CIs; {found.cyclic:,} CIs in cycles",
    ]
    if cis:
        lines.append(f"{found.known_cis:,} CIs are known by {cis}")
    app.result(asdict(found), [*lines, *(file.location for file in found.files)])


def _walk(
    app: App, pull: str, cis: str | None, start: str, direction: Any, depth: int | None, types: Sequence[str]
) -> None:
    from snow_assets.documents.cmdb import RelationGraph
    from snow_assets.documents.cmdb.export import published_cis

    known = cis if published_cis(app.landing(pull), cis) else None  # relations are walked without them, too
    found = RelationGraph.from_published(pull, app.environment.data_dir, cis=known)
    sys_id = _one(found, start)
    try:
        steps = list(found.traverse(sys_id, direction=direction, depth=depth, types=types or None))
    except ConfigError as error:
        error.key = {"types": "--type"}.get(error.key, error.key)
        raise
    data = {
        **_ci(found, sys_id),
        "direction": direction,
        "depth": depth,
        "types": list(types),
        "steps": [
            {
                **_ci(found, step.sys_id),
                "depth": step.depth,
                "parent": step.parent,
                "relation": step.via.sys_id,
                "type": step.via.label,
                "descriptor": step.descriptor,
            }
            for step in steps
        ],
    }
    app.result(data, _tree(found, sys_id, steps))


def _one(found: RelationGraph, start: str) -> str:
    """The sys_id of the CI that is meant."""
    called = found.find(start)
    if len(called) == 1:
        return called[0]
    if not called:
        near = found.names_like(start, _MOST)
        hint = f"alike are: {', '.join(near)}" if near else "see the file of nodes, or give a sys_id"
        raise ConfigError("no CI that has relations is called so", key="--from", value=start, hint=hint)
    more = f" and {len(called) - _MOST:,} more" if len(called) > _MOST else ""
    hint = f"give a sys_id: {', '.join(called[:_MOST])}{more}"
    raise ConfigError(f"{len(called):,} CIs are called so", key="--from", value=start, hint=hint)


def _ci(found: RelationGraph, sys_id: str) -> dict[str, Any]:
    return {"sys_id": sys_id, "name": found.name(sys_id), **found.attributes(sys_id)}


def _tree(found: RelationGraph, start: str, steps: Sequence[Step]) -> Iterator[str]:
    """The steps, each below the CI that it was come to from."""
    below: dict[str, list[Step]] = {}
    for step in steps:
        below.setdefault(step.parent, []).append(step)
    yield _told(found, start)
    waiting = list(reversed(below.get(start, [])))
    while waiting:
        step = waiting.pop()
        yield f"{'  ' * step.depth}{step.descriptor or 'Related to'}: {_told(found, step.sys_id)}"
        waiting += reversed(below.get(step.sys_id, []))


def _told(found: RelationGraph, sys_id: str) -> str:
    known = found.attributes(sys_id)
    more = ", ".join(known[name] for name in ("class_label", "status") if name in known)
    name = found.name(sys_id)
    return f"{name or sys_id}{f' ({more})' if more else ''}{f'  {sys_id}' if name else ''}"
