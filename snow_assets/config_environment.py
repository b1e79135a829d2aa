"""The one place that reads the environment, and the ``.env`` file beside the working directory."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NoReturn
from urllib.parse import unquote

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import BaseModel, ConfigDict, SecretStr

from snow_assets.config_models import InstanceConfig, check_url
from snow_assets.errors import ConfigError, CredentialsError

SignIn = Literal["bearer", "api_key", "oauth_refresh_token", "oauth_password", "oauth_client_credentials", "basic"]

# Two letters at least: C:/data is a folder. One slash is a typing error, and would make a folder named s3:.
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/+)")
_POSTGRESQL = re.compile(r"postgresql(\+psycopg2)?://.")
_STORES = ("file", "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "memory")

_REFUSED: dict[SignIn, str] = {
    "bearer": "SNOW_TOKEN",
    "api_key": "SNOW_API_KEY",
    "oauth_refresh_token": "SNOW_REFRESH_TOKEN",
    "oauth_password": "SNOW_CLIENT_ID",
    "oauth_client_credentials": "SNOW_CLIENT_ID",
    "basic": "SNOW_USERNAME",
}


@dataclass(frozen=True)
class Environment:
    """The variables that steer snow_assets. Relative paths are taken from ``cwd``.

    A variable that is set wins over the same one in ``.env``; an empty one counts as not set.
    """

    values: Mapping[str, str] = field(repr=False)
    cwd: Path

    @classmethod
    def load(cls, cwd: Path | None = None, environ: Mapping[str, str] | None = None) -> Environment:
        """Read ``.env`` in ``cwd`` (default: the working directory) and ``environ`` (default: the process's own).

        Raises:
            ConfigError: ``.env`` is there and cannot be read.
        """
        folder = (cwd or Path.cwd()).absolute()
        own = os.environ if environ is None else environ
        values = {**_read_env_file(folder / ".env"), **{name: value for name, value in own.items() if value}}
        return cls(values, folder)

    def export(self) -> None:
        """Put what only ``.env`` says into the process's environment, for Dagster and for child processes."""
        for name, value in self.values.items():
            if not os.environ.get(name):
                os.environ[name] = value

    def get(self, name: str) -> str | None:
        """The variable's value; None when it is not set or empty."""
        return self.values.get(name) or None

    def with_values(self, **values: str | None) -> Environment:
        """A copy in which the given variables are replaced; those that are None stay as they are."""
        return Environment({**self.values, **{k: v for k, v in values.items() if v is not None}}, self.cwd)

    @property
    def instance_url(self) -> str | None:
        """``SNOW_INSTANCE_URL``; raises `ConfigError` when it is not a URL."""
        url = self.get("SNOW_INSTANCE_URL")
        return check_url(url, "SNOW_INSTANCE_URL") if url else None

    def proxy(self, instance: InstanceConfig) -> str | None:
        """URL of the proxy: ``SNOW_PROXY``, which may hold a password, else the one in ``pulls.yaml``."""
        return self.get("SNOW_PROXY") or instance.proxy

    @property
    def data_dir(self) -> str:
        """``SNOW_DATA_DIR`` (``data``): an absolute path, or the URL of an object store."""
        data = self.get("SNOW_DATA_DIR") or "data"
        url = _URL.match(data)
        if url and (url["slashes"] != "//" or url["scheme"].lower() not in _STORES or not data[url.end() :].strip("/")):
            hint = "write the path of a folder, or a URL such as s3://BUCKET/FOLDER, gs://..., az://... or file:///..."
            raise ConfigError("is not the URL of an object store", key="data", value=data, hint=hint)
        return data.rstrip("/") if url else str(self._path(data))

    @property
    def pulls_path(self) -> Path:
        """``SNOW_PULLS`` (``pulls.yaml``)."""
        return self._path(self.get("SNOW_PULLS") or "pulls.yaml")

    @property
    def imports_path(self) -> Path:
        """``SNOW_IMPORTS``, or ``imports.yaml`` beside ``pulls.yaml``, whether it is there or not."""
        path = self.get("SNOW_IMPORTS")
        return self._path(path) if path else self.pulls_path.parent / "imports.yaml"

    @property
    def imports_dir(self) -> Path:
        """``SNOW_IMPORTS_DIR``, or ``import-sets`` in the data folder: where imports keep what they stage.

        Raises:
            ConfigError: it is not a local folder.
        """
        own = self.get("SNOW_IMPORTS_DIR")
        place = own or f"{self.data_dir}/import-sets"
        scheme, slashes, rest = place.partition("://")
        if not slashes:
            return self._path(place)
        if scheme.lower() == "file":
            return Path(unquote(rest))
        hint = "staging is renamed and locked: set SNOW_IMPORTS_DIR to a folder of this machine"
        raise ConfigError("is not a local folder", key="SNOW_IMPORTS_DIR", value=own or self.data_dir, hint=hint)

    @property
    def imports_database(self) -> str | None:
        """``SNOW_IMPORTS_DATABASE``: ``postgresql://...`` with the books of imports; None: SQLite in `imports_dir`.

        Raises:
            ConfigError: it is another kind of URL. It may hold a password and is not shown.
        """
        url = self.get("SNOW_IMPORTS_DATABASE")
        if url and not _POSTGRESQL.match(url):
            hint = "write postgresql://USER:PASSWORD@HOST/DATABASE, or leave it out for SQLite in the data folder"
            raise ConfigError("is not the URL of a PostgreSQL database", key="SNOW_IMPORTS_DATABASE", hint=hint)
        return url

    @property
    def dbt_dir(self) -> Path:
        """``SNOW_DBT_DIR`` (``dbt``), whether it is there or not."""
        return self._path(self.get("SNOW_DBT_DIR") or "dbt")

    @property
    def dagster_home(self) -> Path:
        """``DAGSTER_HOME``, or ``.dagster`` beside ``pulls.yaml``."""
        home = self.get("DAGSTER_HOME")
        return self._path(home) if home else self.pulls_path.parent / ".dagster"

    def require_url(self, instance: InstanceConfig) -> str:
        """The instance's address: the environment's, else the one in ``pulls.yaml``.

        Raises:
            ConfigError: neither gives one.
        """
        url = self.instance_url or instance.url
        if not url:
            hint = "set SNOW_INSTANCE_URL in the environment or .env, or url under instance: in pulls.yaml"
            raise ConfigError("no instance is given", key="SNOW_INSTANCE_URL", hint=hint)
        return url

    def _path(self, text: str) -> Path:
        return self.cwd / Path(text).expanduser()


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    hint = "write lines NAME=value, in UTF-8"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"cannot be read: {reason}", key=".env", value=path, hint=hint) from None
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # its text is not shown: it may hold a secret
            raise ConfigError(f"cannot be read at line {binding.original.line}", key=".env", value=path, hint=hint)
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value}


class Credentials(BaseModel):
    """Who we are. Secrets are never shown by ``repr`` or ``str``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    username: str | None = None
    password: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    token: SecretStr | None = None
    api_key: SecretStr | None = None

    VARIABLES: ClassVar[Mapping[str, str]] = {
        "username": "SNOW_USERNAME",
        "password": "SNOW_PASSWORD",
        "client_id": "SNOW_CLIENT_ID",
        "client_secret": "SNOW_CLIENT_SECRET",
        "refresh_token": "SNOW_REFRESH_TOKEN",
        "token": "SNOW_TOKEN",
        "api_key": "SNOW_API_KEY",
    }

    @property
    def kind(self) -> SignIn:
        """How we sign in, the first that is given: token, API key, OAuth (refresh token, user, neither), basic."""
        if self.token:
            return "bearer"
        if self.api_key:
            return "api_key"
        if self.refresh_token:
            return "oauth_refresh_token"
        if self.client_id:
            return "oauth_password" if self.username else "oauth_client_credentials"
        return "basic"

    @property
    def key(self) -> str:
        """The variable that an instance refuses when it refuses us."""
        return _REFUSED[self.kind]

    @property
    def value(self) -> str:
        """The value of ``key``, ``""`` where it is a secret."""
        shown = {"SNOW_USERNAME": self.username, "SNOW_CLIENT_ID": self.client_id}
        return shown.get(self.key) or ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret, in the clear: for redaction only."""
        given = (self.password, self.client_secret, self.refresh_token, self.token, self.api_key)
        return tuple(secret.get_secret_value() for secret in given if secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials stay in memory: read them again where they are needed")

    @classmethod
    def given(cls, **parts: str) -> Credentials:
        """Credentials from their parts: ``username``, ``password``, ``client_id`` and so on.

        Raises ``CredentialsError`` where half are given, or one holds a control character. Values are not shown.
        """
        return cls._of(parts, {part: part for part in cls.VARIABLES})

    @classmethod
    def from_environment(cls, environment: Environment | None = None) -> Credentials:
        """Read the ``SNOW_*`` variables.

        Raises:
            CredentialsError: none are given, half are, or one holds a control character. Values are not shown.
        """
        source = environment or Environment.load()
        found = {part: value for part, name in cls.VARIABLES.items() if (value := source.get(name))}
        return cls._of(found, cls.VARIABLES)

    @classmethod
    def _of(cls, parts: Mapping[str, str], names: Mapping[str, str]) -> Credentials:
        """``names``: what each part is called where it was given."""
        for part, value in parts.items():
            if any(ord(character) < 32 for character in value):
                hint = "look for a line break at its end"
                raise CredentialsError("holds a control character", key=names.get(part, part), hint=hint)
        missing = _missing({part: parts.get(part) for part in cls.VARIABLES}, names)
        if missing:
            raise missing
        return cls.model_validate({field: value for field, value in parts.items() if value})


_OF_CLIENT = ("client_id", "client_secret")


def _missing(found: Mapping[str, str | None], names: Mapping[str, str]) -> CredentialsError | None:
    """What a sign-in lacks. A token or an API key needs nothing else."""
    if found["token"] or found["api_key"]:
        return None
    if not any(found.values()):
        hint = "set SNOW_USERNAME and SNOW_PASSWORD, SNOW_CLIENT_ID and SNOW_CLIENT_SECRET, SNOW_TOKEN or SNOW_API_KEY"
        return CredentialsError("no credentials are given", key="SNOW_USERNAME", hint=hint)
    if found["refresh_token"]:
        lacking = [names[field] for field in _OF_CLIENT if not found[field]]
        if not lacking:
            return None  # a user is not needed, and not asked for
        hint = "a refresh token is good only together with the client that it was issued to"
        return CredentialsError(f"is not set, but {names['refresh_token']} is", key=" and ".join(lacking), hint=hint)
    for one, other in (_OF_CLIENT, ("username", "password")):
        if bool(found[one]) != bool(found[other]):
            given, absent = (one, other) if found[one] else (other, one)
            return CredentialsError(f"is not set, but {names[given]} is", key=names[absent], hint="set both")
    return None
