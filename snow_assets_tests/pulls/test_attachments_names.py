"""Names that anybody may have chosen become names that every file system takes and that lead nowhere else."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snow_assets.pulls.attachments_names import LONGEST, path_of, safe_name

SYS_ID = "57af7aec73d423002728660c4cf6a71c"


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_name_is_one_part_of_a_path_on_every_system(name: str) -> None:
    found = safe_name(name)
    assert 0 < len(found.encode()) <= LONGEST
    assert PurePosixPath(found).name == PureWindowsPath(found).name == found
    assert found not in (".", "..")
    assert not any(unicodedata.category(character).startswith("C") for character in found)
    assert not set(found) & set('<>:"/\\|?*')
    assert found == found.strip(" ")
    assert not found.endswith(".")


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("Übersicht 概要.csv", "Übersicht 概要.csv"),
        ("../../etc/passwd", "_._etc_passwd"),
        ("a\0b.txt", "a_b.txt"),
        ("...", "file"),
        ("x" * 300 + ".pdf", "x" * (LONGEST - 4) + ".pdf"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("\ud83d.txt", "_.txt"),
    ],
)
def test_a_name_stays_as_readable_as_it_can(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_path_begins_with_the_sys_id_and_a_hostile_one_is_replaced() -> None:
    assert path_of(SYS_ID, "a.txt") == f"57/{SYS_ID}-a.txt"
    first, second = path_of("../../x", "a"), path_of("..\\x", "a")
    assert first != second
    assert all(PurePosixPath(path).parts[1].endswith("-a") and ".." not in path for path in (first, second))
