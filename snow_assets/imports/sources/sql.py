"""The rows of an SQL query, streamed by a cursor of the server: through SQLAlchemy, or an ADBC driver."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pyarrow as pa
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from snow_assets.config import Environment
from snow_assets.config_import_source import SourceConfig
from snow_assets.errors import ConfigError, CredentialsError, InstanceUnavailable, SnowError
from snow_assets.extras import need
from snow_assets.imports.sources.base import Batches, Source, with_place
from snow_assets.imports.sources.files import check_columns
from snow_assets.imports.sources.sql_types import arrow_columns, types_of

BATCH: Final = 10_000  # rows
_SAID: Final = 500  # characters of what a driver says
_PART: Final = 3  # characters of a part of a password that is hidden
_REFUSED: Final = ("authentication failed", "no password supplied", "Access denied", "login failed")


class _Database:
    """The URL of a database, which holds a password: nothing that is said outside has it."""

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        self.variable = config.database or ""
        url = environment.get(self.variable)
        if not url:
            hint = "set it to the database's URL, in the environment or .env"
            raise ConfigError("is not set", key="source.database", value=self.variable, hint=hint)
        self.url = url

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Who we are, or that nobody answers."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - each driver has exceptions of its own
            said = self._clean(error)
            kind = CredentialsError if any(word in said for word in _REFUSED) else InstanceUnavailable
            raise kind(f"cannot connect: {said}", key="source.database", value=self.variable) from None

    @contextmanager
    def querying(self) -> Iterator[None]:
        """What is wrong with the query."""
        try:
            yield
        except SnowError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise ConfigError(f"the database says: {self._clean(error)}", key="source.sql") from None

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """What went wrong while rows came."""
        try:
            yield
        except (SnowError, GeneratorExit):
            raise
        except Exception as error:  # noqa: BLE001 - as above
            message = f"the query broke off: {self._clean(error)}"
            raise InstanceUnavailable(message, key="source.database", value=self.variable) from None

    def _clean(self, error: BaseException) -> str:
        """What a driver said, in one line and without secrets."""
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        for secret in sorted(secrets_of(self.url), key=len, reverse=True):
            said = said.replace(secret, "...")
        return " ".join(said.split())[:_SAID] or type(error).__name__


class SqlSource(Source):
    """The rows of a query, typed as the database types them where Arrow has such a type, else as text."""

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config)
        self._database = _Database(config, environment)
        self._query = (config.sql or "").strip().rstrip(";")
        self._open = ExitStack()
        try:
            self._begin()
            check_columns(self.columns, "source.sql")
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        engine = self._engine()
        self._open.callback(engine.dispose)
        with self._database.connecting():
            connection = self._open.enter_context(engine.connect())
        options: dict[str, Any] = {"stream_results": True, "yield_per": BATCH, "no_parameters": True}
        self._dialect = engine.dialect.name
        if self._dialect == "postgresql":
            options["postgresql_readonly"] = True
        with self._database.querying():
            result = connection.execution_options(**options).exec_driver_sql(self._query)
            if not result.returns_rows or result.cursor is None:
                raise ConfigError("returns no rows", key="source.sql", hint="write a SELECT")
            described = result.cursor.description
            self.columns = tuple(str(column[0]) for column in described)
            self._partitions = result.partitions(BATCH)
            self._first: Sequence[Any] = next(self._partitions, [])
            types = types_of(self._dialect, described, self._first)
        self._schema = pa.schema(list(zip(self.columns, types, strict=True)))

    def _engine(self) -> Engine:
        key = {"key": "source.database", "value": self._database.variable}
        try:
            url = make_url(self._database.url)
        except (ArgumentError, ValueError):
            hint = "such as postgresql://user:password@host/database; special characters in it are written as %40"
            raise ConfigError("is no URL of a database", hint=hint, **key) from None
        if url.drivername in ("postgresql", "postgres"):
            need("psycopg2", "postgres")
            url = url.set(drivername="postgresql+psycopg2")
        try:
            return create_engine(url, poolclass=NullPool)
        except (NoSuchModuleError, ModuleNotFoundError):
            raise ConfigError(f"no driver is installed for {url.drivername}", **key) from None

    @property
    def schema(self) -> pa.Schema:
        """The types of ``columns``."""
        return self._schema

    def _batches(self) -> Batches:
        rows, before = self._first, 0
        with self._database.streaming():
            while rows:
                yield with_place(arrow_columns(rows, self._schema, before), None, None)
                before += len(rows)
                rows = next(self._partitions, [])

    def close(self) -> None:
        """Let go of the connection."""
        super().close()
        with suppress(Exception):  # nothing was written, and what went wrong before is what matters
            self._open.close()


class AdbcSource(Source):
    """The rows of a query as an ADBC driver gives them: Arrow, in its own types."""

    def __init__(self, config: SourceConfig, environment: Environment) -> None:
        super().__init__(config)
        self._database = _Database(config, environment)
        self._open = ExitStack()
        driver = _driver(config.driver or "")
        try:
            with self._database.connecting():
                connection = self._open.enter_context(driver.connect(self._database.url))
            with self._database.querying():
                cursor = self._open.enter_context(connection.cursor())
                cursor.execute((config.sql or "").strip().rstrip(";"))
                self._reader: pa.RecordBatchReader = cursor.fetch_record_batch()
            self.columns = tuple(self._reader.schema.names)
            check_columns(self.columns, "source.sql")
        except BaseException:
            self.close()
            raise

    @property
    def schema(self) -> pa.Schema:
        """The types of ``columns``."""
        return self._reader.schema

    def _batches(self) -> Batches:
        with self._database.streaming():
            for batch in self._reader:
                if batch.num_rows:
                    yield with_place(pa.Table.from_batches([batch]), None, None)

    def close(self) -> None:
        """Let go of the connection."""
        super().close()
        with suppress(Exception):  # nothing was written, and what went wrong before is what matters
            self._open.close()


def sql_source(config: SourceConfig, environment: Environment) -> Source:
    """Through an ADBC driver where one is named, else through SQLAlchemy."""
    return AdbcSource(config, environment) if config.driver else SqlSource(config, environment)


def _driver(name: str) -> Any:
    try:
        return importlib.import_module(f"{name}.dbapi")
    except ImportError:
        hint = f"such as adbc_driver_postgresql: pip install {name.replace('_', '-')} 'snow_assets[adbc]'"
        raise ConfigError("is no ADBC driver that is installed", key="source.driver", value=name, hint=hint) from None


def secrets_of(url: str) -> set[str]:
    """The URL, and what of it may be secret: the password and the values of its query, whole and in parts."""
    authority = url.partition("://")[2].rpartition("@")[0]
    password, query = authority.partition(":")[2], url.partition("?")[2]
    values = [part.partition("=")[2] for part in re.split("[&;]", query)]
    parts = [part for part in re.split(r"[/@:?#&=]", password) if len(part) >= _PART]
    plain = [each for secret in (password, *values, *parts) for each in (secret, unquote(secret), unquote_plus(secret))]
    return {secret for each in plain for secret in (each, quote(each), quote_plus(each))} - {""} | {url}
