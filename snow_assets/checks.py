"""Asset checks of a pull: their specs, and their results from what the assets found.

They are yielded by the assets themselves: a separate check step would be skipped, silently, after a ranged run in
which slices failed, and could not see a receipt that was never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from snow_assets.assets.keys import PullNames
from snow_assets.assets.metadata import governor_metadata
from snow_assets.config import PullConfig
from snow_assets.errors import SnowError
from snow_assets.pulls import Sweep, Totals
from snow_assets.pulls.governed import Governed
from snow_assets.pulls.schema import UNREADABLE, SchemaChange

SCHEMA = "schema"
SLICES_LANDED = "slices_landed"
COMPLETE = "complete"
HIDDEN_ROWS = "hidden_rows"
COUNT_AGREES = "count_agrees"
ACCEPTABLE = "acceptable"
DELETES_KNOWN = "deletes_known"
VERIFIED = "verified"

_SHOWN = 20  # failed slices listed in a check's metadata
_STEPS = 100  # newest steps of the governor listed there


def plan_specs(names: PullNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``servicenow/<pull>/plan``."""
    return [
        dg.AssetCheckSpec(SCHEMA, asset=names.plan, description="The table has the columns that were last published.")
    ]


def slices_specs(names: PullNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``servicenow/<pull>/slices``."""
    return [
        dg.AssetCheckSpec(
            SLICES_LANDED, asset=names.slices, description="Every slice of the run landed, proven by its keys."
        )
    ]


def totals_specs(names: PullNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``servicenow/<pull>/totals``."""
    return [
        dg.AssetCheckSpec(
            COMPLETE,
            asset=names.totals,
            blocking=True,
            description="The slices tile the key space and no row is unexplained.",
        ),
        dg.AssetCheckSpec(HIDDEN_ROWS, asset=names.totals, description="No counted row is hidden from this account."),
        dg.AssetCheckSpec(
            COUNT_AGREES, asset=names.totals, description="The instance's count at plan time equals the slices' counts."
        ),
    ]


def sweep_specs(names: PullNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``servicenow/<pull>/sweep``."""
    return [
        dg.AssetCheckSpec(
            DELETES_KNOWN, asset=names.sweep, description="Which rows were deleted since the last sync is known."
        ),
        dg.AssetCheckSpec(
            VERIFIED, asset=names.sweep, description="No row was missing or old for want of a clock that moved."
        ),
    ]


def dataset_specs(names: PullNames) -> list[dg.AssetCheckSpec]:
    """Checks of ``servicenow/<pull>``."""
    return [
        dg.AssetCheckSpec(
            ACCEPTABLE,
            asset=names.dataset,
            blocking=True,
            description="Against the last dataset, the rows did not fall nor the hidden share rise by more than 10 %.",
        )
    ]


def schema_result(change: SchemaChange) -> dg.AssetCheckResult:
    """WARN where the columns changed, each kind of change in a line; says whether the dictionary could be read."""
    lines = list(change.lines())
    metadata = {} if change.readable else {"dictionary": UNREADABLE}
    metadata |= {word: names for word, _, names in (line.partition(" ") for line in lines)}
    return dg.AssetCheckResult(
        check_name=SCHEMA,
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(lines) or None,
        metadata=metadata,
    )


def frozen_result(error: SnowError) -> dg.AssetCheckResult:
    """ERROR: the columns changed and the pull freezes its schema."""
    return dg.AssetCheckResult(
        check_name=SCHEMA, passed=False, severity=dg.AssetCheckSeverity.ERROR, metadata={"cause": str(error)}
    )


def slices_result(
    asked: int, failed: Sequence[tuple[str, SnowError]], governed: Governed | None = None
) -> dg.AssetCheckResult:
    """ERROR where a slice of the run failed; its metadata: a table of causes, and the figures of the governor."""
    metadata: dict[str, dg.MetadataValue] = {
        "asked": dg.MetadataValue.int(asked),
        "failed": dg.MetadataValue.int(len(failed)),
    }
    if failed:
        rows = [{"partition": key, "cause": str(error)} for key, error in failed[:_SHOWN]]
        metadata["failed slices"] = table(rows, ("partition", "cause"))
    if governed is not None and governed.requests:
        metadata |= governor_metadata([governed])
        steps: list[dict[str, str | float]] = [
            {"seconds": at, "limit": limit, "why": why} for at, limit, why in governed.steps[-_STEPS:]
        ]
        metadata["steps of the limit"] = table(steps, ("seconds", "limit", "why"))
    return dg.AssetCheckResult(
        check_name=SLICES_LANDED, passed=not failed, severity=dg.AssetCheckSeverity.ERROR, metadata=metadata
    )


def table(rows: Sequence[Mapping[str, str | float]], columns: Sequence[str]) -> dg.TableMetadataValue:
    """A table for the UI; every column is text."""
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: str(row.get(name, "")) for name in columns}) for row in rows],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in columns]),
    )


def totals_results(totals: Totals, pull: PullConfig) -> list[dg.AssetCheckResult]:
    """What the receipt says of completeness, hidden rows and the two counts."""
    hidden_severity = dg.AssetCheckSeverity.ERROR if pull.hidden_rows == "fail" else dg.AssetCheckSeverity.WARN
    drift = [each for each in totals.differences if each.cause in ("drift", "moving_query")]
    return [
        dg.AssetCheckResult(
            check_name=COMPLETE,
            passed=totals.missing == 0 and totals.duplicates == 0,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"slices": totals.slices, "missing": totals.missing, "duplicates": totals.duplicates},
        ),
        dg.AssetCheckResult(
            check_name=HIDDEN_ROWS,
            passed=not totals.hidden,
            severity=hidden_severity,
            metadata={"hidden": "unknown: the instance did not count" if totals.hidden is None else totals.hidden},
        ),
        dg.AssetCheckResult(
            check_name=COUNT_AGREES,
            passed=not drift,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={each.cause: each.evidence for each in drift},
        ),
    ]


def sweep_results(found: Sweep) -> list[dg.AssetCheckResult]:
    """WARN where deletes are unknown, and where rows had to be mended that the cursor did not show."""
    mended = {"missed": found.missed, "restored": found.restored, "changed": found.changed}
    compared = "verify" in found.kinds
    return [
        dg.AssetCheckResult(
            check_name=DELETES_KNOWN,
            passed=not found.unknown,
            severity=dg.AssetCheckSeverity.WARN,
            description=found.unknown or None,
            metadata={"unknown": found.unknown} if found.unknown else {},
        ),
        dg.AssetCheckResult(
            check_name=VERIFIED,
            passed=not any(mended.values()),
            severity=dg.AssetCheckSeverity.WARN,
            description="The keys of all rows were compared." if compared else "No verification was due.",
            metadata={**mended, "compared": compared},
        ),
    ]


def incomplete_result(error: SnowError) -> dg.AssetCheckResult:
    """ERROR: slices are missing or do not tile."""
    return dg.AssetCheckResult(
        check_name=COMPLETE, passed=False, severity=dg.AssetCheckSeverity.ERROR, metadata={"cause": str(error)}
    )


def acceptable_result(error: SnowError | None) -> dg.AssetCheckResult:
    """ERROR where publishing was refused; ``None`` passes."""
    metadata = {} if error is None else {"cause": str(error)}
    return dg.AssetCheckResult(
        check_name=ACCEPTABLE, passed=error is None, severity=dg.AssetCheckSeverity.ERROR, metadata=metadata
    )
