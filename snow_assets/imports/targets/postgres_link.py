"""Connections to PostgreSQL: from the URL in an environment variable, and what goes wrong on them, in our words."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from snow_assets.errors import ConfigError, CredentialsError, InstanceUnavailable, TargetBusy, TargetRefused
from snow_assets.extras import need

if TYPE_CHECKING:
    from snow_assets.config_environment import Environment

T = TypeVar("T")

TRIES: Final = 6
BACKOFF: Final = 0.5  # seconds before the second try; doubled for each after it
LOCK_WAIT: Final = "600s"  # for locks, where the URL, role or server says nothing of lock_timeout
IDLE_WAIT: Final = "600s"  # how long the server keeps the locks of a client that says nothing more
_FORM: Final = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @ and %2F for / in a password"
_CREDENTIALS: Final = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")
_NAMES: Final = ("does not exist", "could not translate host name", "is not permitted to log in", "certificate")

# Of the session and of nothing else: a pooler hands the connection to others at the end of the transaction.
_SETTINGS: Final = (
    "SELECT set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true), "
    "set_config('intervalstyle', 'postgres', true), set_config('extra_float_digits', '1', true), "
    "set_config('bytea_output', 'hex', true), set_config('jit', 'off', true), "
    "set_config('work_mem', greatest(pg_size_bytes(current_setting('work_mem')), 67108864) / 1024 || 'kB', true), "
    "set_config('idle_in_transaction_session_timeout', %s, true), set_config('lock_timeout', "
    "CASE current_setting('lock_timeout') WHEN '0' THEN %s ELSE current_setting('lock_timeout') END, true), "
    "current_setting('server_encoding')"
)


class TryAgain(Exception):
    """The transaction is gone, or nobody knows whether it was committed: the ledger of a new one will tell."""


class Link:
    """The way to one database. Safe for threads: each transaction has a connection of its own.

    ``variable`` names the environment variable that holds the URL; ``name`` is what the server's lists call us.
    """

    def __init__(self, variable: str, url: str, name: str) -> None:
        self.place = variable
        self._url = url
        self._name = name
        self._idle: list[Any] = []
        self._mutex = threading.Lock()

    @classmethod
    def of(cls, environment: Environment, variable: str, name: str) -> Link:
        """The database whose URL is in ``variable``.

        Raises:
            ConfigError: it is not set, or is no URL of a PostgreSQL database. It may hold a password and is not shown.
        """
        url = environment.get(variable)
        if not url:
            raise ConfigError("is not set", key=variable, hint=_FORM)
        return cls(variable, _checked(variable, url), name)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A connection in a transaction of its own; committed at the end, rolled back where an exception passes.

        Raises:
            TryAgain: the connection was lost, or the server chose this transaction to end a deadlock.
            TargetBusy: a lock or a statement took longer than the server allows.
            TargetRefused: whatever else the server says.
        """
        errors = need("psycopg2", "postgres")
        connection = self._taken()
        try:
            with connection.cursor() as cursor:
                cursor.execute(_SETTINGS, (IDLE_WAIT, LOCK_WAIT))
                encoding = cursor.fetchone()[-1]
            if encoding != "UTF8":
                hint = "make the database with ENCODING 'UTF8'"
                raise ConfigError(f"its database holds {encoding}, not UTF8", key=self.place, hint=hint)
            yield connection
            connection.commit()
        except errors.Error as error:
            told = self.told(error, connection)
            self._drop(connection)
            raise told from None
        except BaseException:
            self._drop(connection)  # whatever it is in the middle of
            raise
        self._give_back(connection)

    def told(self, error: Any, connection: Any) -> Exception:
        """What the server said, as an exception of ours."""
        code = error.pgcode or ""
        words = first_line(error)
        if is_lost(error, connection) or code in ("40001", "40P01"):
            return TryAgain(words)
        if code == "55P03":
            hint = "run it again when it is done; lock_timeout says how long is waited"
            return TargetBusy(words, key=self.place, hint=hint)
        if code == "57014":
            hint = (
                "run it again; where it happens always, raise the statement_timeout of the role, or make sets smaller"
            )
            return TargetBusy(words, key=self.place, hint=hint)
        if code.startswith("53"):
            return TargetBusy(words, key=self.place, hint="the server lacks something; run it again when it is well")
        if code == "3F000":
            return ConfigError(words, key=self.place, hint="create it, or name another with target.schema")
        if code == "42501":
            return TargetRefused(words, key=self.place, hint="grant it to the role of the URL")
        return TargetRefused(words, key=self.place)

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        with self._mutex:
            idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def _taken(self) -> Any:
        with self._mutex:
            if self._idle:
                return self._idle.pop()
        psycopg2 = need("psycopg2", "postgres")
        try:
            connection = psycopg2.connect(self._url, **self._defaults())
        except psycopg2.Error as error:
            told = self._unreachable(error)
        else:
            # Whatever the server's defaults are: a snapshot must be younger than the lock.
            connection.set_session("READ COMMITTED", readonly=False, autocommit=False)
            return connection
        raise told

    def _defaults(self) -> dict[str, Any]:
        """What the URL does not say: a server that is gone is noticed within two minutes."""
        ours: dict[str, Any] = {
            "client_encoding": "UTF8",
            "application_name": self._name,
            "connect_timeout": 30,
            "keepalives_idle": 60,
            "keepalives_interval": 15,
            "keepalives_count": 4,
        }
        said = _parsed(self._url) or {}
        return {name: value for name, value in ours.items() if name == "client_encoding" or name not in said}

    def _unreachable(self, error: Any) -> Exception:
        words = hidden(first_line(error), self._url)
        if any(each in words for each in _CREDENTIALS):
            return CredentialsError(words, key=self.place)
        if any(each in words for each in _NAMES):
            return ConfigError(words, key=self.place, hint=_FORM)
        return TryAgain(words)

    def _give_back(self, connection: Any) -> None:
        with self._mutex:
            self._idle.append(connection)

    def _drop(self, connection: Any) -> None:
        if connection.closed:
            self.close()  # the server was stopped, and the others know nothing of it yet
        _close(connection)

    def again(self, act: Callable[[], T]) -> T:
        """Run ``act``, and once more where its transaction is gone; each time after a longer while.

        Raises:
            InstanceUnavailable: it went wrong every time.
        """
        words = ""
        for tried in range(TRIES):
            if tried:
                time.sleep(BACKOFF * 2 ** (tried - 1) * random.uniform(0.5, 1))
            try:
                return act()
            except TryAgain as error:
                words = str(error)
        hint = f"tried {TRIES} times; run it again when the database is well"
        raise InstanceUnavailable(words, key=self.place, hint=hint)


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()


def is_lost(error: Any, connection: Any) -> bool:
    """Whether the connection is gone: the server stopped, its process was ended, the network broke."""
    code = error.pgcode or ""
    return bool(connection.closed) or code.startswith("08") or code in ("57P01", "57P02", "57P03", "25P03", "57P05")


def first_line(error: Any) -> str:
    """What the server says, without the statement and its data."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = [line.strip() for line in (primary or str(error)).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def hidden(words: str, url: str) -> str:
    """Words without the password of the URL."""
    said = _parsed(url) or {}
    for name in ("password", "sslpassword", "passfile"):
        if said.get(name):
            words = words.replace(said[name], "...")
    return words


def _checked(variable: str, url: str) -> str:
    """The URL as libpq reads it; refused here where libpq would quote a part of a password in its complaint."""
    scheme, slashes, rest = url.partition("://")
    scheme = scheme.partition("+")[0]
    refused = ConfigError("is not the URL of a PostgreSQL database", key=variable, hint=_FORM)
    if not slashes or scheme not in ("postgresql", "postgres"):
        raise refused
    said = _parsed(f"{scheme}://{rest}")
    if said is None:
        raise refused
    ports = said.get("port", "").split(",")
    if "@" in said.get("host", "") or not all(each.isdigit() for each in ports if each):
        raise refused
    return f"{scheme}://{rest}"


def _parsed(url: str) -> dict[str, str] | None:
    psycopg2 = need("psycopg2", "postgres")
    with suppress(psycopg2.Error):
        return dict(need("psycopg2.extensions", "postgres").parse_dsn(url))
    return None
