"""The section ``source`` of an import: where its rows come from."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from snow_assets.config_models import PullName, VariableName
from snow_assets.config_schedule import Section

KINDS: Final = ("csv", "jsonl", "parquet", "excel", "sql", "pull")


def listed(value: object) -> object:
    """A text is a list of one."""
    return (value,) if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1)]


class SourceConfig(Section):
    """One of ``csv``, ``jsonl``, ``parquet``, ``excel``, ``sql``, ``pull``.

    Files are paths or globs from the folder of imports.yaml. ``encoding``, ``delimiter``, ``quote`` are those of a CSV
    file, ``sheet`` is the sheet of a workbook (the first).
    ``database`` names the environment variable that holds the URL of the database of ``sql``; ``driver`` is an ADBC
    driver's module, where SQLAlchemy is not wanted. ``bad_rows``: rows that cannot be read go to the errors of the
    load (``reject``), or fail it (``fail``).
    """

    csv: Paths | None = None
    jsonl: Paths | None = None
    parquet: Paths | None = None
    excel: Paths | None = None
    sql: str | None = None
    pull: PullName | None = None
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    sheet: str | None = None
    database: VariableName | None = None
    driver: str | None = None
    bad_rows: Literal["reject", "fail"] = "reject"

    @model_validator(mode="after")
    def _check_one(self) -> SourceConfig:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"needs one of {', '.join(KINDS)}")
        if given == ["sql"] and not self.database:
            raise ValueError("database is missing: name the environment variable that holds the database's URL")
        return self

    @property
    def kind(self) -> str:
        """Which of them."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)
