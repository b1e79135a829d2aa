"""For the tests on PostgreSQL."""

from snow_assets_tests.imports.postgres.server import postgres, postgres_of_session

__all__ = ["postgres", "postgres_of_session"]
