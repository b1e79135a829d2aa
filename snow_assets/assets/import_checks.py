"""Asset checks of an import: their specs, and their results from what the assets found. The assets yield them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from snow_assets.assets.import_keys import ImportNames
from snow_assets.checks import table
from snow_assets.errors import SnowError
from snow_assets.imports.contract import Counters

SETS_APPLIED = "sets_applied"
COUNTERS_ADD_UP = "counters_add_up"
ROWS_IN_ERROR = "rows_in_error"

SHOWN = 20  # failed import sets, or rows in error, that a check lists


def transform_specs(names: ImportNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``imports/<name>/transform``."""
    return [
        dg.AssetCheckSpec(
            SETS_APPLIED, asset=names.transform, description="Every import set of the run is applied, each as a whole."
        )
    ]


def target_specs(names: ImportNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``imports/<name>/target``."""
    return [
        dg.AssetCheckSpec(
            COUNTERS_ADD_UP,
            asset=names.target,
            blocking=True,
            description="Every import set of the load is applied, and each staged row has one outcome.",
        ),
        dg.AssetCheckSpec(
            ROWS_IN_ERROR,
            asset=names.target,
            description="No row was refused: not by the source, the transform or the target.",
        ),
    ]


def sets_result(asked: int, failed: Sequence[tuple[str, SnowError]]) -> dg.AssetCheckResult:
    """ERROR where an import set of the run failed; its metadata: a table of causes."""
    metadata: dict[str, dg.MetadataValue] = {
        "asked": dg.MetadataValue.int(asked),
        "failed": dg.MetadataValue.int(len(failed)),
    }
    if failed:
        rows = [{"partition": key, "cause": str(error)} for key, error in failed[:SHOWN]]
        metadata["failed import sets"] = table(rows, ("partition", "cause"))
    return dg.AssetCheckResult(
        check_name=SETS_APPLIED, passed=not failed, severity=dg.AssetCheckSeverity.ERROR, metadata=metadata
    )


def counters_result(staged: int, counters: Counters, error: str) -> dg.AssetCheckResult:
    """ERROR where an import set is not applied, or a staged row has no outcome."""
    figures = {"staged": staged, "accounted": counters.accounted}
    return dg.AssetCheckResult(
        check_name=COUNTERS_ADD_UP,
        passed=not error and staged == counters.accounted,
        severity=dg.AssetCheckSeverity.ERROR,
        description=error or None,
        metadata=figures,
    )


def rows_result(counters: Counters, rejected: int, rows: Sequence[Mapping[str, object]]) -> dg.AssetCheckResult:
    """WARN where rows were refused; its metadata: a Markdown table of the first, each with its line in the source."""
    metadata: dict[str, dg.MetadataValue] = {
        "errors": dg.MetadataValue.int(counters.errors),
        "rejected": dg.MetadataValue.int(rejected),
    }
    if rows:
        metadata["first rows in error"] = dg.MetadataValue.md(rows_md(rows))
    refused = counters.errors + rejected
    return dg.AssetCheckResult(
        check_name=ROWS_IN_ERROR,
        passed=not refused,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{refused:,} {'row was' if refused == 1 else 'rows were'} refused" if refused else None,
        metadata=metadata,
    )


def rows_md(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows in error as a Markdown table."""
    lines = ["| file | line | row | import set | code | why |", "|---|---|---|---|---|---|"]
    names = ("file", "line", "row", "set", "code", "message")
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "" if value is None else " ".join(str(value).replace("|", "\\|").split())
