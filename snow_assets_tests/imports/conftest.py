"""For the tests of imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets_tests.imports.loads import Imports
from snow_assets_tests.imports.postgres.server import Database, postgres, postgres_of_session

__all__ = ["imports", "imports_on_both", "postgres", "postgres_of_session"]


@pytest.fixture
def imports(tmp_path: Path) -> Imports:
    """A folder with imports, whose books are SQLite."""
    return Imports(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def imports_on_both(request: pytest.FixtureRequest, tmp_path: Path) -> Imports:
    """The same, and once more with books in PostgreSQL."""
    if request.param == "sqlite":
        return Imports(tmp_path)
    database: Database = request.getfixturevalue("postgres")
    return Imports(tmp_path, database.url)
