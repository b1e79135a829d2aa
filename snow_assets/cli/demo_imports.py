"""The demonstration's imports: locations, then people, then incidents, from CSV files into DuckDB and the instance."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

IMPORTS: Final = """\
# The imports of the demonstration. The keys are explained in docs/imports.md.
imports:
  # Into DuckDB: a child starts when its parent's import sets are all transformed.
  locations:
    source: {csv: in/locations.csv}
    target: locations
    transform: {name: site, city: city, country: country}
    coalesce: name
    description: Where people work.

  people:
    parent: locations
    source: {csv: "in/people-*.csv"}
    target: people
    partition: {key: login}    # rows of one login stay in their order
    transform:
      user_name: login
      name: {sql: "first_name || ' ' || last_name"}
      email: mail
      location: {source: site, reference: {table: locations, by: name, on_missing: reject}}
      active: {source: status, choices: {active: "true", left: "false"}}
    coalesce: user_name
    description: Who works there. Two files, in which 40 people come twice.

  incidents:
    parent: people
    nodes: 4                   # 8 import sets, 8 of them at a time
    source: {csv: in/incidents.csv}
    target: incidents
    transform:
      correlation_id: ticket
      short_description: title
      caller_id: {source: reporter, reference: {table: people, by: user_name, on_missing: reject}}
      opened_at: {source: opened, type: datetime, format: "%d.%m.%Y %H:%M"}
      urgency: {source: urgency, choices: {high: "1", medium: "2", low: "3"}}
    coalesce: correlation_id
    description: What was reported. A few rows cannot be imported, and say why.

  # The same files into the instance, in the three ways that it knows.
  sites_to_instance:
    source: {csv: in/locations.csv}
    target: {table: cmn_location, servicenow: table}
    transform: {name: site, city: city, country: country}
    coalesce: name

  people_to_instance:
    parent: sites_to_instance
    source: {csv: "in/people-*.csv"}
    staging: imp_user
    target: {table: sys_user, servicenow: import_set}
    partition: {key: login}
    transform: {user_id: login, first_name: first_name, last_name: last_name, email: mail, location: site}
    coalesce: user_id          # as the transform map of the instance does

  incidents_to_instance:
    parent: people_to_instance
    source: {csv: in/incidents.csv}
    staging: imp_incident
    target: {table: incident, servicenow: insert_multiple}
    transform: {correlation_id: ticket, short_description: title, caller_id: reporter}
    coalesce: correlation_id
"""

_CITIES: Final = ("Berlin", "Kyoto", "Lima", "Oslo", "Porto", "Quito", "Riga", "Turin")
_COUNTRIES: Final = ("Germany", "Japan", "Peru", "Norway", "Portugal", "Ecuador", "Latvia", "Italy")
_FIRST: Final = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Ines", "Jon")
_LAST: Final = ("Abel", "Brandt", "Costa", "Diaz", "Engel", "Fuchs", "Grau", "Hahn")
_TITLES: Final = ("Laptop does not start", "VPN drops", "Printer jams", "No mail since noon", "Badge is refused")
SITES, PEOPLE, INCIDENTS = 40, 400, 3000


def write_files(folder: Path) -> None:
    """The CSV files of the imports, the same each time."""
    folder.mkdir()
    chance = random.Random(6)
    sites = [f"{_CITIES[number % 8]} {number:02d}" for number in range(SITES)]
    _write(
        folder / "locations.csv",
        ("site", "city", "country"),
        ((site, _CITIES[number % 8], _COUNTRIES[number % 8]) for number, site in enumerate(sites)),
    )
    people = [_person(number, chance.choice(sites)) for number in range(PEOPLE)]
    head = ("login", "first_name", "last_name", "mail", "site", "status")
    _write(folder / "people-1.csv", head, people)
    _write(folder / "people-2.csv", head, [(*person[:-1], "left") for person in people[:40]])
    incidents = [_incident(number, chance) for number in range(INCIDENTS)]
    path = folder / "incidents.csv"
    _write(path, ("ticket", "title", "reporter", "opened", "urgency"), incidents)
    with path.open("a", encoding="utf-8") as file:  # what a real export has, too
        file.write("T99991,Nobody knows who called,ghost,01.11.2026 09:00,low\n")
        file.write("T99992,The date is none,p0001,31.11.2026 09:00,low\n")
        file.write("T99993,A line that breaks off,p0002\n")


def imported(folder: Path, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """What came of each import of the demonstration in ``folder``, whose ``.env`` says ``variables``."""
    from snow_assets.cli.imports_data import added_up
    from snow_assets.config import Environment
    from snow_assets.imports.workspace import Workspace

    found = []
    with Workspace.open(Environment(variables, folder)) as workspace:
        for name, config in workspace.settings.imports.items():
            load = workspace.books.load(name)
            sets = workspace.books.sets(load) if load else []
            where = f"{config.target.kind} {config.target.table}"
            figures = {"rejected": load.rejected if load else 0, **added_up(sets).as_dict()}
            found.append({"import": name, "target": where, "sets": len(sets), **figures})
    return found


def _person(number: int, site: str) -> tuple[str, ...]:
    first, last = _FIRST[number % 10], _LAST[number // 10 % 8]
    return f"p{number:04d}", first, last, f"p{number:04d}@example.com", site, "active"


def _incident(number: int, chance: random.Random) -> tuple[str, ...]:
    opened = f"{chance.randint(1, 28):02d}.{chance.randint(1, 10):02d}.2026 {chance.randint(7, 18):02d}:00"
    reporter = f"p{chance.randrange(PEOPLE):04d}"
    return f"T{number:05d}", chance.choice(_TITLES), reporter, opened, chance.choice(("high", "medium", "low"))


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
