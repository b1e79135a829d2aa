"""The governor's figures in the metadata of Dagster's events."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from snow_assets_tests.assets.conftest import Location, settings

FIGURES = ("requests in flight, most", "answers 429", "pauses", "seconds paused", "cuts")


def slices_check(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    [check] = [each for each in result.get_asset_check_evaluations() if each.check_name == "slices_landed"]
    return check


def test_refusals_are_in_the_metadata_of_the_run_and_of_the_totals(location: Location, tmp_path: Path) -> None:
    location.settings = settings(tmp_path, max_retries=3)
    location.run("pull_incidents")
    location.server.sim.faults.add({"kind": "overloaded_429", "table": "incident", "request": "list", "times": 2})

    landed = location.follow(location.tick())

    metadata = slices_check(landed).metadata
    assert metadata["answers 429"].value == 2
    assert set(FIGURES) < set(metadata)
    chart = str(metadata["requests in flight over time"].value)
    assert any(block in chart for block in "▁▂▃▄▅▆▇█")
    steps = metadata["steps of the limit"]
    assert isinstance(steps, dg.TableMetadataValue)
    assert "status 429" in {record.data["why"] for record in steps.records}
    for event in landed.get_asset_materialization_events():
        assert not set(FIGURES) & set(event.materialization.metadata)
        assert len(event.materialization.metadata) <= 7

    published = location.follow(location.tick())

    [totals] = [
        event.materialization
        for event in published.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1] == "totals"
    ]
    assert {name: totals.metadata[name].value for name in FIGURES} == {name: metadata[name].value for name in FIGURES}


def test_a_run_that_asks_for_nothing_shows_no_figures(location: Location) -> None:
    location.run("pull_incidents")
    due = location.tick()
    location.follow(due)

    again = location.follow(due)

    assert again.success
    assert not set(FIGURES) & set(slices_check(again).metadata)


def test_a_run_whose_slices_fail_shows_what_was_in_flight(location: Location) -> None:
    location.run("pull_incidents")
    location.break_slice(1)

    failed = location.follow(location.tick())

    check = slices_check(failed)
    assert not check.passed
    assert set(FIGURES) < set(check.metadata)
