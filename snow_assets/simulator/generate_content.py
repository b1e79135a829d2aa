"""The service catalogue and the knowledge base."""

from __future__ import annotations

from collections.abc import Mapping

from snow_assets.simulator import texts
from snow_assets.simulator.generate_people import SYSTEM_USERS, People
from snow_assets.simulator.generate_rows import (
    DAY,
    Column,
    Row,
    Source,
    build,
    dates,
    system_columns,
)


def make_content(source: Source, counts: Mapping[str, int], people: People) -> dict[str, list[Row]]:
    """Catalogue items with their categories, articles with their bases."""
    catalogs = _titled(source, "sc_catalog", ("Service Catalog", "Technical Catalog"))
    categories = _titled(source, "sc_category", ("Hardware", "Software", "Services", "Office"))
    bases = _titled(source, "kb_knowledge_base", ("IT", "Knowledge", "HR"))
    topics = _titled(source, "kb_category", ("Email", "Network", "How to", "FAQ"), column="label")
    return {
        "sc_catalog": catalogs,
        "sc_category": categories,
        "kb_knowledge_base": bases,
        "kb_category": topics,
        "sc_cat_item": _items(source, counts["sc_cat_item"], people, categories, catalogs),
        "kb_knowledge": _articles(source, counts["kb_knowledge"], people, bases, topics),
    }


def _titled(source: Source, name: str, titles: tuple[str, ...], column: str = "title") -> list[Row]:
    dice = source.dice(name)
    created = [source.now - 1500 * DAY] * len(titles)
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(len(titles)),
        column: list(titles),
        "active": "true",
    }
    return build(
        columns | system_columns(dice, len(titles), created, created, SYSTEM_USERS),
        len(titles),
    )


def _items(source: Source, n: int, people: People, categories: list[Row], catalogs: list[Row]) -> list[Row]:
    dice = source.dice("sc_cat_item")
    base = texts.CATALOG_ITEMS
    names = [base[i % len(base)] + (f" #{i}" if i >= len(base) else "") for i in range(n)]
    created = [source.now - k // DAY * DAY for k in dice.integers(n, 30 * DAY, 1400 * DAY)]
    updated = [min(c + k, source.now) for c, k in zip(created, dice.skewed(n, 300 * DAY), strict=True)]
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "name": names,
        "sys_name": names,
        "short_description": [f"Order: {name}" if i % 6 else "" for i, name in enumerate(names)],
        "description": [f"<p>{name} &ndash; usually ready in 2 days.</p><ul><li>a</li></ul>" for name in names],
        "active": dice.pick(("true", "false"), n, (9, 1)),
        "category": dice.pick([row["sys_id"] for row in categories], n),
        "sc_catalogs": dice.pick([row["sys_id"] for row in catalogs], n),
        "group": dice.maybe(people.groups, n, 0.6),
        "owner": dice.maybe(people.users, n, 0.5),
        "vendor": dice.maybe(people.companies, n, 0.4),
        "price": dice.pick(("0", "99.5", "1499", ""), n),
        "recurring_price": dice.pick(("", "9.99"), n),
        "cost": dice.pick(("", "49.00"), n),
        "delivery_time": dice.pick(("", "1970-01-03 00:00:00", "1970-01-01 04:00:00"), n),
        "order": "0",
        "availability": "on_desktop",
        "billable": "false",
        "type": "item",
        "sys_class_name": "sc_cat_item",
    }
    return build(columns | system_columns(dice, n, created, updated, SYSTEM_USERS), n)


def _articles(source: Source, n: int, people: People, bases: list[Row], topics: list[Row]) -> list[Row]:
    dice = source.dice("kb_knowledge")
    titles = [
        texts.ARTICLES[i % len(texts.ARTICLES)] + (f" ({i})" if i >= len(texts.ARTICLES) else "") for i in range(n)
    ]
    symptoms, fixes = dice.pick(texts.SYMPTOMS, n), dice.pick(texts.FIXES, n)
    created = [source.now - k for k in dice.integers(n, DAY, 1200 * DAY)]
    updated = [min(c + k, source.now) for c, k in zip(created, dice.skewed(n, 300 * DAY), strict=True)]
    states = dice.pick(("published", "draft", "review", "retired"), n, (75, 12, 5, 8))
    columns: dict[str, Column] = {
        "sys_id": dice.sys_ids(n),
        "number": [f"KB{10_001 + i:07}" for i in range(n)],
        "short_description": titles,
        "text": [
            texts.ARTICLE_BODY.format(title=title, symptom=symptom, fix=fix) * (1 + i % 7) if i % 23 else ""
            for i, (title, symptom, fix) in enumerate(zip(titles, symptoms, fixes, strict=True))
        ],
        "active": ["false" if state == "retired" else "true" for state in states],
        "article_type": "text",
        "author": dice.maybe(people.users, n, 0.95),
        "kb_category": dice.maybe([row["sys_id"] for row in topics], n, 0.8),
        "kb_knowledge_base": dice.pick([row["sys_id"] for row in bases], n),
        "published": dates([c if s == "published" else 0 for c, s in zip(created, states, strict=True)]),
        "valid_to": dates([c + 1100 * DAY for c in created]),
        "workflow_state": states,
        "sys_view_count": [str(k) for k in dice.skewed(n, 5000)],
        "use_count": [str(k) for k in dice.skewed(n, 300)],
        "rating": dice.pick(("", "4.50", "3.00"), n),
        "latest": "true",
        "flagged": "false",
        "disable_commenting": "false",
        "sys_domain": "global",
        "sys_class_name": "kb_knowledge",
    }
    return build(columns | system_columns(dice, n, created, updated, SYSTEM_USERS), n)
