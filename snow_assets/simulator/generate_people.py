"""Companies, places, departments, users, groups and roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snow_assets.simulator import texts
from snow_assets.simulator.generate_rows import (
    DAY,
    Column,
    Row,
    Source,
    build,
    named_id,
    stamps,
    system_columns,
)

ADMIN_ID = "6816f79cc0a8016401c5a33be04be441"
"""The sys_id of the user ``admin``, who signs in by default."""

SYSTEM_USERS = ("system", "admin", "glide.maint")
_FIXED_USERS = ("admin", "itil", "employee", "integration.reader", "berlin.user")


@dataclass(frozen=True, slots=True)
class People:
    """The tables, and the keys that other tables refer to."""

    tables: dict[str, list[Row]]
    companies: list[str]
    locations: list[str]
    departments: list[str]
    users: list[str]
    user_names: list[str]
    groups: list[str]


def make_people(source: Source, counts: Mapping[str, int]) -> People:
    """Everyone and where they are."""
    companies = _companies(source, counts["core_company"])
    company_ids = _ids(companies)
    locations = _locations(source, counts["cmn_location"], company_ids)
    departments = _departments(source, counts["cmn_department"], company_ids)
    users = _users(source, counts["sys_user"], company_ids, _ids(locations), _ids(departments))
    groups = _groups(source, counts["sys_user_group"], _ids(users))
    roles = _roles(source)
    tables = {
        "core_company": companies,
        "cmn_location": locations,
        "cmn_department": departments,
        "sys_user": users,
        "sys_user_group": groups,
        "sys_user_grmember": _members(source, counts["sys_user_grmember"], _ids(users), _ids(groups)),
        "sys_user_role": roles,
        "sys_user_has_role": _user_roles(source, users, roles),
    }
    names = [row["user_name"] for row in users]
    return People(
        tables,
        company_ids,
        _ids(locations),
        _ids(departments),
        _ids(users),
        names,
        _ids(groups),
    )


def _ids(rows: list[Row]) -> list[str]:
    return [row["sys_id"] for row in rows]


def _seeded(source: Source, name: str, n: int) -> dict[str, Column]:
    """The system columns of rows that came with the instance or were imported years ago, many in one second."""
    dice = source.dice(f"{name}/system")
    moments = [source.now - days * DAY - days * 977 % DAY for days in (2900, 1800, 1500, 900, 300)]
    created = [moments[i] for i in dice.integers(n, 0, len(moments))]
    touched = dice.flags(n, 0.3)
    updated = [
        c + k if flag else c for c, k, flag in zip(created, dice.integers(n, 1, 200 * DAY), touched, strict=True)
    ]
    return system_columns(dice, n, created, updated, SYSTEM_USERS)


def _companies(source: Source, n: int) -> list[Row]:
    dice = source.dice("core_company")
    names = [name if i < len(texts.COMPANIES) else f"{name} {i}" for i, name in _cycle(texts.COMPANIES, n)]
    makers = ["true" if i % len(texts.COMPANIES) >= 3 else "false" for i in range(n)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "name": names,
        "city": dice.pick([city[0] for city in texts.CITIES], n),
        "country": dice.pick([city[2] for city in texts.CITIES], n),
        "customer": "false",
        "manufacturer": makers,
        "vendor": makers,
        "primary": ["true" if i == 0 else "false" for i in range(n)],
        "website": [f"https://www.example.com/{i}?a=1&b=2" if i % 3 else "" for i in range(n)],
        "sys_class_name": "core_company",
        "sys_domain": "global",
    }
    return build(columns | _seeded(source, "core_company", n), n)


def _cycle(values: tuple[str, ...], n: int) -> list[tuple[int, str]]:
    return [(i, values[i % len(values)]) for i in range(n)]


def _locations(source: Source, n: int, companies: list[str]) -> list[Row]:
    dice = source.dice("cmn_location")
    places = [texts.CITIES[i % len(texts.CITIES)] for i in range(n)]
    streets = [f"{17 + 3 * i} Example Street, {place[0]}" for i, place in enumerate(places)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "name": streets,
        "street": streets,
        "city": [place[0] for place in places],
        "state": [place[1] for place in places],
        "country": [place[2] for place in places],
        "full_name": [f"{place[2]}/{place[0]}/{street}" for place, street in zip(places, streets, strict=True)],
        "time_zone": [place[3] for place in places],
        "latitude": [place[4] for place in places],
        "longitude": [place[5] for place in places],
        "zip": [f"{k:05}" for k in dice.integers(n, 0, 99_999)],
        "company": dice.maybe(companies, n, 0.8),
        "sys_domain": "global",
    }
    return build(columns | _seeded(source, "cmn_location", n), n)


def _departments(source: Source, n: int, companies: list[str]) -> list[Row]:
    dice = source.dice("cmn_department")
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "name": [name if i < len(texts.DEPARTMENTS) else f"{name} {i}" for i, name in _cycle(texts.DEPARTMENTS, n)],
        "id": [f"{1000 + i}" for i in range(n)],
        "company": dice.pick(companies, n) if companies else "",
        "description": "",
        "sys_domain": "global",
    }
    return build(columns | _seeded(source, "cmn_department", n), n)


def _users(
    source: Source,
    n: int,
    companies: list[str],
    locations: list[str],
    departments: list[str],
) -> list[Row]:
    dice = source.dice("sys_user")
    n = max(n, len(_FIXED_USERS))
    firsts, lasts = dice.pick(texts.FIRST_NAMES, n), dice.pick(texts.LAST_NAMES, n)
    logins = [f"{first.lower()}.{last.lower()}{i}" for i, (first, last) in enumerate(zip(firsts, lasts, strict=True))]
    ids = dice.sys_ids(n)
    columns: dict[str, Column] = {
        "sys_id": ids,
        "user_name": logins,
        "first_name": firsts,
        "last_name": lasts,
        "name": [f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)],
        "email": [f"user{i}@example.com" if i % 19 else "" for i in range(n)],
        "employee_number": [f"{100_000 + i}" for i in range(n)],
        "active": dice.pick(("true", "false"), n, (93, 7)),
        "locked_out": dice.pick(("false", "true"), n, (99, 1)),
        "vip": dice.pick(("false", "true"), n, (97, 3)),
        "title": dice.pick(texts.TITLES, n),
        "company": dice.maybe(companies, n, 0.95),
        "department": dice.maybe(departments, n, 0.9),
        "location": dice.maybe(locations, n, 0.9),
        "manager": dice.maybe(ids, n, 0.8),
        "phone": [f"+1 555 {k:07}" for k in dice.integers(n, 0, 9_999_999)],
        "time_zone": dice.pick(("", "US/Pacific", "Europe/Berlin", "Asia/Tokyo"), n, (6, 1, 2, 1)),
        "preferred_language": dice.pick(("", "en", "de", "ja"), n, (6, 2, 1, 1)),
        "notification": "2",
        "calendar_integration": "1",
        "web_service_access_only": "false",
        "internal_integration_user": "false",
        "password_needs_reset": "false",
        "last_login_time": stamps([source.now - k if k % 4 else 0 for k in dice.integers(n, 60, 90 * DAY)]),
        "sys_domain": "global",
        "sys_class_name": "sys_user",
    }
    rows = build(columns | _seeded(source, "sys_user", n), n)
    _name_fixed_users(rows)
    return rows


def _name_fixed_users(rows: list[Row]) -> None:
    """The first users are the same in every instance: who signs in, and some that tests ask for."""
    fixed: list[Row] = [
        {"sys_id": ADMIN_ID, "name": "System Administrator", "first_name": "System", "last_name": "Administrator",
         "time_zone": "US/Pacific", "email": "admin@example.com", "title": "System Administrator", "roles": "admin"},
        {"name": "ITIL User", "first_name": "ITIL", "last_name": "User", "time_zone": "US/Pacific"},
        {"name": "Employee User", "first_name": "Employee", "last_name": "User", "time_zone": "US/Eastern"},
        {"name": "Integration Reader", "first_name": "Integration", "last_name": "Reader", "time_zone": "GMT",
         "internal_integration_user": "true"},
        {"name": "Jürgen Berlin", "first_name": "Jürgen", "last_name": "Berlin", "time_zone": "Europe/Berlin",
         "date_format": "dd.MM.yyyy"},
    ]  # fmt: skip
    for row, login, values in zip(rows, _FIXED_USERS, fixed, strict=False):
        row.update(
            values,
            user_name=login,
            active="true",
            locked_out="false",
            user_password="********",
        )
        row.setdefault("sys_id", named_id("sys_user", login))
        row.pop("preferred_language", None)
    rows[0].pop("manager", None)


def _groups(source: Source, n: int, users: list[str]) -> list[Row]:
    dice = source.dice("sys_user_group")
    names = [
        name if i < len(texts.GROUPS) else f"{name} L{i // len(texts.GROUPS) + 1}"
        for i, name in _cycle(texts.GROUPS, n)
    ]
    ids = dice.sys_ids(n)
    columns: dict[str, Column] = {
        "sys_id": ids,
        "name": names,
        "description": [f"Looks after: {name.lower()}" if i % 4 else "" for i, name in enumerate(names)],
        "active": dice.pick(("true", "false"), n, (95, 5)),
        "email": [f"group{i}@example.com" if i % 2 else "" for i in range(n)],
        "manager": dice.maybe(users, n, 0.7),
        "parent": dice.maybe(ids[:3], n, 0.2),
        "include_members": "false",
        "exclude_manager": "false",
    }
    return build(columns | _seeded(source, "sys_user_group", n), n)


def _members(source: Source, n: int, users: list[str], groups: list[str]) -> list[Row]:
    dice = source.dice("sys_user_grmember")
    n = n if users and groups else 0
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "user": dice.pick(users, n),
        "group": dice.pick(groups, n),
    }
    return build(columns | _seeded(source, "sys_user_grmember", n), n)


def _roles(source: Source) -> list[Row]:
    names = texts.ROLES
    columns: dict[str, Column] = {
        "sys_id": [named_id("sys_user_role", name) for name in names],
        "name": list(names),
        "suffix": list(names),
        "description": [f"Grants what {name} may do" for name in names],
        "elevated_privilege": "false",
    }
    return build(columns | _seeded(source, "sys_user_role", len(names)), len(names))


def _user_roles(source: Source, users: list[Row], roles: list[Row]) -> list[Row]:
    admin, itil = roles[0]["sys_id"], roles[1]["sys_id"]
    held = [(users[0]["sys_id"], admin)] + [(user["sys_id"], itil) for user in users[1::3]]
    columns: dict[str, Column] = {
        "sys_id": [named_id("sys_user_has_role", *pair) for pair in held],
        "user": [user for user, _ in held],
        "role": [role for _, role in held],
        "inherited": "false",
        "state": "active",
    }
    return build(columns | _seeded(source, "sys_user_has_role", len(held)), len(held))
