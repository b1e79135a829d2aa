"""The asset graph: what users see and depend on, as a snapshot of specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from snow_assets.config import Environment, Settings
from snow_assets.definitions import build_definitions

EXPECTED = {
    "servicenow/incidents/plan": {
        "deps": [],
        "group": "incidents",
        "kinds": ["servicenow"],
        "partitions": None,
        "checks": ["schema"],
        "pool": "servicenow/dev1.example.com",
    },
    "servicenow/incidents/slices": {
        "deps": ["servicenow/incidents/plan"],
        "group": "incidents",
        "kinds": ["parquet", "servicenow"],
        "partitions": "servicenow/incidents/slices",
        "checks": ["slices_landed"],
        "pool": "servicenow/dev1.example.com",
    },
    "servicenow/incidents/totals": {
        "deps": ["servicenow/incidents/slices"],
        "group": "incidents",
        "kinds": ["json"],
        "partitions": None,
        "checks": ["complete", "count_agrees", "hidden_rows"],
        "pool": None,
    },
    "servicenow/incidents": {
        "deps": ["servicenow/incidents/totals"],
        "group": "incidents",
        "kinds": ["deltalake", "parquet"],
        "partitions": None,
        "checks": ["acceptable"],
        "pool": None,
    },
}


def definitions(folder: Path, **values: str) -> dg.Definitions:
    settings = Settings(
        pulls={
            "incidents": {"table": "incident", "schedule": {"cron": "0 2 * * *", "timezone": "Europe/Berlin"}},
            "problems": {"table": "problem", "group": "itil", "slices_per_run": 7},
        },
        instance={"url": "https://dev1.example.com"},
        path=folder / "pulls.yaml",
    )
    return build_definitions(settings, Environment(values, folder))


def describe(asset: dg.AssetsDefinition) -> dict[str, Any]:
    spec = next(iter(asset.specs))
    partitions = spec.partitions_def
    assert partitions is None or isinstance(partitions, dg.DynamicPartitionsDefinition)
    return {
        "deps": [dep.asset_key.to_user_string() for dep in spec.deps],
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "partitions": partitions.name if partitions else None,
        "checks": sorted(check.name for check in asset.check_specs),
        "pool": asset.op.pool,
    }


def test_the_graph_of_a_pull(tmp_path: Path) -> None:
    found = {
        asset.key.to_user_string(): describe(asset)
        for asset in definitions(tmp_path).assets or ()
        if isinstance(asset, dg.AssetsDefinition) and "incidents" in asset.key.path
    }

    assert found == EXPECTED


def test_definitions_load_without_network_credentials_or_data(tmp_path: Path) -> None:
    dg.Definitions.validate_loadable(definitions(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_every_pull_has_its_three_jobs(tmp_path: Path) -> None:
    repository = definitions(tmp_path).get_repository_def()

    names = {name for name in repository.job_names if not name.startswith("__")}
    expected = {f"{step}_{pull}" for step in ("pull", "slices", "publish") for pull in ("incidents", "problems")}
    assert names == expected


def test_a_pull_job_selects_the_plan_alone(tmp_path: Path) -> None:
    job = definitions(tmp_path).resolve_job_def("pull_incidents")

    assert job.asset_layer.executable_asset_keys == {dg.AssetKey(["servicenow", "incidents", "plan"])}
    assert job.tags["snow/pull"] == "incidents"


def test_the_publish_job_takes_along_what_depends_on_the_dataset(tmp_path: Path) -> None:
    job = definitions(tmp_path).resolve_job_def("publish_incidents")

    keys = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    assert keys == {"servicenow/incidents", "servicenow/incidents/totals"}


def test_slices_run_many_to_a_run(tmp_path: Path) -> None:
    assets = definitions(tmp_path).resolve_asset_graph()

    policy = assets.get(dg.AssetKey(["servicenow", "problems", "slices"])).backfill_policy
    assert policy is not None
    assert policy.max_partitions_per_run == 7
