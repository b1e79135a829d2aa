"""The section ``attachments`` of a pull: what it may say, and what is told of what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.config import AttachmentsConfig, find_problems, load_settings


def settings(folder: Path, section: str, more: str = "") -> Path:
    path = folder / "pulls.yaml"
    path.write_text(f"pulls:\n  a:\n    table: incident\n    attachments: {section}\n{more}", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("true", AttachmentsConfig()),
        ("false", None),
        ("{}", AttachmentsConfig()),
        ("{max_size: 25MB}", AttachmentsConfig(max_size=25_000_000)),
        ("{max_size: 1.5 GiB}", AttachmentsConfig(max_size=3 << 29)),
        ("{max_size: 2000}", AttachmentsConfig(max_size=2000)),
        (
            '{content_types: [Application/PDF, "image/*"]}',
            AttachmentsConfig(content_types=("application/pdf", "image/*")),
        ),
    ],
)
def test_short_and_long_forms(tmp_path: Path, section: str, expected: AttachmentsConfig | None) -> None:
    assert load_settings(settings(tmp_path, section)).pulls["a"].attachments == expected


def test_a_schedule_may_be_a_cron_line_alone(tmp_path: Path) -> None:
    found = load_settings(settings(tmp_path, '{schedule: "0 3 * * *"}')).pulls["a"].attachments
    assert found is not None
    assert found.schedule is not None
    assert (found.schedule.cron, found.schedule.timezone) == ("0 3 * * *", "UTC")


def test_content_types_take_a_family_and_parameters() -> None:
    some = AttachmentsConfig(content_types=("application/pdf", "image/*"))
    assert [some.takes(kind) for kind in ("image/png", "application/PDF; x=1", "text/plain", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert AttachmentsConfig().takes("")


@pytest.mark.parametrize(
    ("section", "key", "told"),
    [
        ("3", "pulls.a.attachments", "is not a map"),
        ("{max_size: 25 potatoes}", "pulls.a.attachments.max_size", "25MB"),
        ("{max_size: 0}", "pulls.a.attachments.max_size", "less than 1"),
        ("{max_size: true}", "pulls.a.attachments.max_size", "not a number"),
        ("{max_sise: 3}", "pulls.a.attachments.max_sise", "did you mean max_size?"),
        ("{content_types: [pdf]}", "pulls.a.attachments.content_types", "pdf is not a content type"),
        ("{content_types: []}", "pulls.a.attachments.content_types", "empty list"),
        ('{schedule: "never"}', "pulls.a.attachments.schedule.cron", "cron"),
        ("{schedule: {corn: 3}}", "pulls.a.attachments.schedule.corn", "did you mean cron?"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_and_the_way_out(tmp_path: Path, section: str, key: str, told: str) -> None:
    problems = find_problems(settings(tmp_path, section))
    assert key in [problem.key for problem in problems]
    assert any(told in str(problem) for problem in problems), problems


def test_a_table_that_is_read_by_a_key_has_no_attachments(tmp_path: Path) -> None:
    [problem] = find_problems(settings(tmp_path, "true", "    key: [number]\n"))
    assert "rows with a sys_id" in str(problem)
