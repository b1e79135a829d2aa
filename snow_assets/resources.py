"""Dagster resources: the instance, the folder of landings, and the workspace of imports."""

# Dagster reads the annotations of resources when the class is made, so this module does not defer them.

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, JsonValue

from snow_assets.config import Credentials, Environment, InstanceConfig, PullConfig
from snow_assets.config_imports import ImportSettings
from snow_assets.pulls import Landing
from snow_assets.servicenow.client import Client

if TYPE_CHECKING:
    from snow_assets.imports.workspace import Workspace

# Field of the resource -> the variable that fills it, where it is set.
VARIABLES = {"url": "SNOW_INSTANCE_URL", "proxy": "SNOW_PROXY", **Credentials.VARIABLES}

# Dagster's UI shows stars in place of such a field. What is given as an EnvVar is neither shown nor stored at all.
SECRET: dict[str, JsonValue] = {"dagster__is_secret": True}


def _secret(description: str) -> Any:
    return Field(
        default=None, repr=False, json_schema_extra=SECRET, description=f"{description}; give it as an EnvVar."
    )


class ServiceNowResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """One ServiceNow instance. Secrets come as ``EnvVar``, so that neither the UI nor a run's record holds them."""

    url: str | None = Field(default=None, description="Address of the instance, like https://dev1.service-now.com.")
    username: str | None = Field(default=None, description="User name (basic sign-in, OAuth password grant).")
    password: str | None = _secret("Password of the user")
    client_id: str | None = Field(default=None, description="OAuth client id.")
    client_secret: str | None = _secret("OAuth client secret")
    refresh_token: str | None = _secret("OAuth refresh token")
    token: str | None = _secret("Bearer token")
    api_key: str | None = _secret("API key")
    allow_http: bool = Field(default=False, description="Allow plain http:// to another host than this one.")
    proxy: str | None = _secret("URL of an HTTP proxy, which may hold a password")
    ca_bundle: str | None = Field(default=None, description="File of CA certificates to trust instead of the usual.")
    max_workers: int | None = Field(default=None, description="Upper bound on requests in flight, for every pull.")

    @classmethod
    def from_environment(cls, instance: InstanceConfig, environment: Environment) -> "ServiceNowResource":
        """The resource of ``instance:`` in pulls.yaml; variables that are set win, by name and unread."""
        configured = instance.model_dump(exclude_none=True)
        variables = {field: dg.EnvVar(name) for field, name in VARIABLES.items() if environment.get(name)}
        return cls(**{**configured, **variables})

    def credentials(self) -> Credentials:
        """Who signs in. Raises ``CredentialsError`` where that is half specified or missing."""
        given = {name: getattr(self, field) for field, name in Credentials.VARIABLES.items()}
        return Credentials.from_environment(Environment({k: v for k, v in given.items() if v}, Path()))

    @contextmanager
    def client(self, pull: PullConfig) -> Iterator[Client]:
        """A client with the tunables of ``pull``; closed at the end."""
        url = Environment({"SNOW_INSTANCE_URL": self.url or ""}, Path()).require_url(InstanceConfig())
        workers = pull.max_workers if self.max_workers is None else min(pull.max_workers, self.max_workers)
        with Client(
            url,
            self.credentials(),
            page_size=pull.page_size,
            max_workers=workers,
            max_retries=pull.max_retries,
            retry_backoff=pull.retry_backoff,
            timeout=(pull.timeout.connect, pull.timeout.read),
            display_value=pull.display_value,
            allow_http=self.allow_http,
            proxy=self.proxy,
            ca_bundle=self.ca_bundle,
            max_wait=pull.max_wait,
        ) as client:
            yield client


class LandingResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where pulls land: a folder or an object-store URL with one landing per pull."""

    data: str = Field(default="data", description="Folder or URL (s3://, gs://, az://) of all landings.")

    def open(self, pull: str) -> Landing:
        """The landing of a pull; nothing is created before the first write."""
        return Landing.open(self.data, pull)


class ImportsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where imports work. URLs of databases, and credentials, are read from the environment when a run needs them."""

    folder: str = Field(description="The working folder: relative paths of sources and targets are taken from it.")
    pulls: str = Field(description="The declared pulls, whose instance a target may be.")
    data: str = Field(description="Folder or URL of all landings, whose rows a source may be.")
    declared: str = Field(description="The declared imports; functions of theirs lie beside it.")
    sets: str = Field(description="Folder of import sets and of their books.")

    @classmethod
    def of(cls, environment: Environment) -> "ImportsResource":
        """The resource of an environment. Raises ``ConfigError`` where its folder is none of this machine."""
        return cls(
            folder=str(environment.cwd),
            pulls=str(environment.pulls_path),
            data=environment.data_dir,
            declared=str(environment.imports_path),
            sets=str(environment.imports_dir),
        )

    @contextmanager
    def open(self, settings: ImportSettings) -> "Iterator[Workspace]":
        """The workspace of ``settings``; closed at the end."""
        from snow_assets.imports.workspace import Workspace  # noqa: PLC0415 - SQLAlchemy is slow to import

        variables = {
            "SNOW_PULLS": self.pulls,
            "SNOW_DATA_DIR": self.data,
            "SNOW_IMPORTS": self.declared,
            "SNOW_IMPORTS_DIR": self.sets,
        }
        with Workspace(settings, Environment.load(Path(self.folder)).with_values(**variables)) as workspace:
            yield workspace
