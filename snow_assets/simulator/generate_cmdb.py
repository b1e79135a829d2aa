"""Configuration items of many classes, their models, assets and relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snow_assets.simulator import texts
from snow_assets.simulator.generate_people import SYSTEM_USERS, People
from snow_assets.simulator.generate_rows import (
    DAY,
    Column,
    Dice,
    Row,
    Source,
    build,
    dates,
    stamps,
    system_columns,
)
from snow_assets.simulator.schema import SCHEMA, ancestors, columns_of, descendants

CI_CLASSES = tuple(name for name in ("cmdb_ci", *descendants("cmdb_ci")))
"""Every class of configuration item, each row of which lives in exactly one."""

_SYSTEMS = {
    "cmdb_ci_linux_server": ("Linux Red Hat", "Linux SuSE", "GNU/Linux", "Ubuntu"),
    "cmdb_ci_win_server": (
        "Windows 2019 Standard",
        "Windows 2022 Datacenter",
        "Windows 2016 Standard",
    ),
    "cmdb_ci_server": ("AIX", "Solaris", "Linux Red Hat"),
    "cmdb_ci_computer": ("Windows 11", "macOS 15", "Windows 10 Enterprise", ""),
}
_SERVICES = (
    "Email",
    "SAP Enterprise Services",
    "Web Shop",
    "Payroll",
    "Collaboration",
    "Datenaustausch",
    "人事サービス",
)


def make_cmdb(source: Source, counts: Mapping[str, int], people: People) -> dict[str, list[Row]]:
    """Items by class, and the tables around them."""
    models = _models(source, counts["cmdb_model"], people)
    model_ids = [row["sys_id"] for row in models]
    total = sum(counts[name] for name in CI_CLASSES)
    batches = _batches(source, total)
    tables = {
        name: _items(source, name, counts[name], people, model_ids, batches) for name in CI_CLASSES if counts[name]
    }
    items = [row["sys_id"] for rows in tables.values() for row in rows]
    types = _relation_types(source)
    return tables | {
        "cmdb_model": models,
        "cmdb_rel_type": types,
        "cmdb_rel_ci": _relations(source, counts["cmdb_rel_ci"], items, [row["sys_id"] for row in types]),
        "alm_asset": _assets(source, counts["alm_asset"], items, model_ids),
        "ast_contract": _contracts(source, counts["ast_contract"], people),
    }


def _batches(source: Source, total: int) -> list[int]:
    """The instants at which items were loaded: about three for ten items, and one that loaded an eighth of all.

    An order by creation date is therefore full of ties, the largest far longer than a page of 100.
    """
    dice = source.dice("cmdb_ci/batches")
    distinct = max(1, total // 3)
    moments = [source.now - k for k in dice.integers(distinct, 2 * DAY, 2200 * DAY)]
    spread = [moments[i] for i in dice.integers(max(1, total * 7 // 8), 0, distinct)]
    return spread + [moments[0]] * (total - len(spread) + 1)


def _items(
    source: Source,
    name: str,
    n: int,
    people: People,
    models: Sequence[str],
    batches: Sequence[int],
) -> list[Row]:
    dice = source.dice(name)
    created = [batches[i] for i in dice.integers(n, 0, len(batches))]
    updated = [min(c + k * 60, source.now) for c, k in zip(created, dice.skewed(n, 1000 * 1440), strict=True)]
    chain = (name, *ancestors(name))
    columns = _common(source, dice, name, n, people, models)
    if "cmdb_ci_hardware" in chain:
        columns |= _hardware(dice, n)
    if "cmdb_ci_computer" in chain:
        columns |= _computer(dice, name, n, people)
    if "cmdb_ci_server" in chain:
        columns |= _server(dice, columns["name"], n)
    if "cmdb_ci_service" in chain:
        columns |= {
            "busines_criticality": dice.pick(_values(name, "busines_criticality"), n),
            "version": "1.0",
        }
    if "cmdb_ci_appl" in chain:
        columns |= {
            "version": dice.pick(("8.0.36", "19c", "15.0.2000"), n),
            "install_directory": "/opt/app",
        }
    if "cmdb_ci_db_instance" in chain:
        columns |= {
            "tcp_port": dice.pick(("3306", "1433", "1521"), n),
            "instance_name": columns["name"],
        }
    return build(columns | system_columns(dice, n, created, updated, SYSTEM_USERS), n)


def _values(table: str, element: str) -> list[str]:
    return [value for column in columns_of(table) if column.name == element for value, _ in column.choices]


def _names(name: str, n: int) -> list[str]:
    if "service" in name:
        return [f"{_SERVICES[i % len(_SERVICES)]}{f' {i}' if i >= len(_SERVICES) else ''}" for i in range(n)]
    prefix = {
        "cmdb_ci_linux_server": "lnx",
        "cmdb_ci_win_server": "win",
        "cmdb_ci_computer": "ws",
    }.get(name)
    prefix = prefix or name.removeprefix("cmdb_ci").strip("_")[:6] or "ci"
    return [f"{prefix}{i:05}.example.com" if i % 5 else f"{prefix.upper()} {i:05} *Ω*" for i in range(n)]


def _class_path(name: str) -> str:
    """A path of two characters a level below ``/!!``, stable for one schema."""
    order = list(SCHEMA)
    chain = [*reversed(ancestors(name)), name]
    codes = "!#$%&'()*+,-.0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(f"/!{codes[order.index(link) % len(codes)]}" for link in chain)


def _common(source: Source, dice: Dice, name: str, n: int, people: People, models: Sequence[str]) -> dict[str, Column]:
    seen = [source.now - k for k in dice.integers(n, 60, 40 * DAY)]
    names = _names(name, n)
    return {
        "sys_id": dice.sys_ids(n),
        "sys_class_name": name,
        "sys_class_path": _class_path(name),
        "sys_domain": "global",
        "sys_domain_path": "/",
        "name": names,
        "asset_tag": [f"P{k:07}" if k % 3 else "" for k in dice.integers(n, 0, 9_999_999)],
        "assigned_to": dice.maybe(people.users, n, 0.5),
        "attributes": dice.pick(("", "{}", '{"zone":"a","tier":1}'), n, (8, 1, 1)),
        "can_print": "false",
        "company": dice.maybe(people.companies, n, 0.8),
        "cost": dice.pick(("", "1200.5", "349.99", "15000", "0.1"), n),
        "cost_cc": "USD",
        "department": dice.maybe(people.departments, n, 0.6),
        "discovery_source": dice.pick(("", "ServiceNow", "SCCM", "Manual Entry"), n),
        "environment": dice.pick(["", *_values("cmdb_ci", "environment")], n, (20, 50, 15, 12, 3)),
        "fault_count": "0",
        "first_discovered": stamps([s - 400 * DAY if s % 2 else 0 for s in seen]),
        "install_date": stamps([s - 500 * DAY if s % 3 else 0 for s in seen]),
        "install_status": dice.pick(_values("cmdb", "install_status"), n, (80, 3, 4, 5, 6, 1, 1)),
        "last_discovered": stamps([s if s % 2 else 0 for s in seen]),
        "location": dice.maybe(people.locations, n, 0.8),
        "managed_by": dice.maybe(people.users, n, 0.4),
        "manufacturer": dice.maybe(people.companies, n, 0.7),
        "model_id": dice.maybe(models, n, 0.8),
        "monitor": "false",
        "operational_status": dice.pick(_values("cmdb_ci", "operational_status"), n, (86, 4, 3, 2, 2, 3)),
        "owned_by": dice.maybe(people.users, n, 0.3),
        "purchase_date": dates([s - 600 * DAY if s % 3 else 0 for s in seen]),
        "serial_number": [f"SN-{k:08X}" for k in dice.integers(n, 0, 2**32 - 1)],
        "short_description": dice.pick(
            (
                "",
                "Managed by the platform team",
                "Ersatzgerät",
                "本番環境 / production",
            ),
            n,
        ),
        "skip_sync": "false",
        "support_group": dice.maybe(people.groups, n, 0.7),
        "unverified": dice.pick(("false", "true"), n, (95, 5)),
    }


def _hardware(dice: Dice, n: int) -> dict[str, Column]:
    numbers = dice.integers(n, 0, 2**24 - 1)
    return {
        "ip_address": [f"10.{k >> 16}.{k >> 8 & 255}.{k & 255}" if k % 7 else "" for k in numbers],
        "mac_address": [f"00:16:3e:{k >> 16:02x}:{k >> 8 & 255:02x}:{k & 255:02x}" for k in numbers],
        "hardware_status": dice.pick(("installed", "in_stock", "retired", "in_maintenance"), n, (85, 5, 5, 5)),
        "chassis_type": dice.pick(("", "Laptop", "Rack Mount Chassis", "Blade"), n),
    }


def _computer(dice: Dice, name: str, n: int, people: People) -> dict[str, Column]:
    return {
        "os": dice.pick(_SYSTEMS.get(name, ("",)), n),
        "os_version": dice.pick(("9.4", "22.04", "10.0.20348", ""), n),
        "ram": dice.pick(("8192", "16384", "65536", "1048576"), n),
        "cpu_count": dice.pick(("1", "2", "4"), n),
        "cpu_core_count": dice.pick(("4", "8", "32"), n),
        "cpu_speed": dice.pick(("2400", "3100.5"), n),
        "cpu_manufacturer": dice.maybe(people.companies, n, 0.6),
        "disk_space": dice.pick(("256", "512.25", "10240"), n),
        "cd_rom": "false",
        "virtual": dice.pick(("true", "false"), n),
    }


def _server(dice: Dice, names: Column, n: int) -> dict[str, Column]:
    return {
        "host_name": [text.split(".")[0] for text in names] if not isinstance(names, str) else names,
        "classification": dice.pick(("Production", "Development", "Test", ""), n),
        "used_for": dice.pick(("Production", "Test", "Development"), n),
        "firewall_status": "Intranet",
        "db_server": "false",
    }


def _models(source: Source, n: int, people: People) -> list[Row]:
    dice = source.dice("cmdb_model")
    created = [source.now - 900 * DAY - k for k in dice.integers(n, 0, 100 * DAY)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "name": [f"Model {i}" for i in range(n)],
        "display_name": [f"Example Model {i} ({'Ü' if i % 9 == 0 else 'A'})" for i in range(n)],
        "manufacturer": dice.maybe(people.companies, n, 0.9),
        "status": "In Production",
        "sys_class_name": "cmdb_model",
    }
    return build(columns | system_columns(dice, n, created, created, SYSTEM_USERS), n)


def _relation_types(source: Source) -> list[Row]:
    dice = source.dice("cmdb_rel_type")
    pairs = texts.RELATION_TYPES
    created = [source.now - 2900 * DAY] * len(pairs)
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(len(pairs)),
        "name": [f"{parent}::{child}" for parent, child in pairs],
        "sys_name": [f"{parent}::{child}" for parent, child in pairs],
        "parent_descriptor": [parent for parent, _ in pairs],
        "child_descriptor": [child for _, child in pairs],
    }
    return build(
        columns | system_columns(dice, len(pairs), created, created, SYSTEM_USERS),
        len(pairs),
    )


def _relations(source: Source, n: int, items: Sequence[str], types: Sequence[str]) -> list[Row]:
    """From every fourth item, so that some have many; one far end in a hundred is gone."""
    dice = source.dice("cmdb_rel_ci")
    n = n if items else 0
    created = [source.now - k for k in dice.integers(n, DAY, 900 * DAY)]
    gone = dice.sys_ids(max(1, n // 100))
    hubs = list(items[::4])
    ends = [*items, *gone]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "parent": dice.pick(hubs, n) if n else "",
        "child": dice.pick(ends, n) if n else "",
        "type": dice.pick(types, n),
        "connection_strength": "always",
        "percent_outage": dice.pick(("", "50", "100"), n, (8, 1, 1)),
    }
    return build(columns | system_columns(dice, n, created, created, SYSTEM_USERS), n)


def _assets(source: Source, n: int, items: Sequence[str], models: Sequence[str]) -> list[Row]:
    dice = source.dice("alm_asset")
    created = [source.now - k for k in dice.integers(n, DAY, 900 * DAY)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "display_name": [f"P{1_000_000 + i} - Example Model" for i in range(n)],
        "asset_tag": [f"P{1_000_000 + i}" for i in range(n)],
        "ci": dice.maybe(items, n, 0.8),
        "model": dice.maybe(models, n, 0.9),
        "cost": dice.pick(("1200.00", "349.99", ""), n),
        "install_status": "1",
        "sys_class_name": "alm_asset",
    }
    return build(columns | system_columns(dice, n, created, created, SYSTEM_USERS), n)


def _contracts(source: Source, n: int, people: People) -> list[Row]:
    dice = source.dice("ast_contract")
    starts = [source.now - k for k in dice.integers(n, DAY, 900 * DAY)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "number": [f"CNTR{1 + i:07}" for i in range(n)],
        "short_description": [f"Maintenance contract {i}" for i in range(n)],
        "vendor": dice.maybe(people.companies, n, 0.9),
        "starts": dates(starts),
        "ends": dates([s + 730 * DAY for s in starts]),
        "sys_class_name": "ast_contract",
    }
    return build(columns | system_columns(dice, n, starts, starts, SYSTEM_USERS), n)
