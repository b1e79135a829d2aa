"""A folder for the files of sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets_tests.imports.sources.reading import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
