"""A landing behind an object store's interface: the same pull, committed by uploads, read by ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from snow_assets.errors import LandingError
from snow_assets.pulls import Failed, Landed, Landing, pull_status
from snow_assets.pulls.object_store import ObjectStore
from snow_assets_tests.pulls.conftest import Workbench


def test_a_pull_lands_and_publishes_through_obstore(own: Workbench, tmp_path: Path) -> None:
    root = tmp_path / "bucket" / "incidents"
    root.mkdir(parents=True)
    own.landing = Landing("incidents", ObjectStore(root.as_uri()))
    plan = own.plan().plan
    assert [result for result in own.land(plan, plan.slices[:3]) if isinstance(result, Failed)] == []
    assert pull_status("incidents", own.landing).landed == 3
    with pytest.raises(FileExistsError):
        own.landing.write_plan(plan)

    results = own.land(plan)
    assert sum(isinstance(result, Landed) and result.adopted for result in results) == 3
    totals = own.pull_all()
    status = pull_status("incidents", own.landing)
    assert (status.state, status.published_rows, totals.landed) == ("published", 1200, 1200)
    assert own.landing.plan_ids() == [totals.plan]  # the unfinished plan was retired with its files
    assert len(own.ids(own.landing.read_plan(totals.plan))) == 1200


def test_an_object_store_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "marked-key",
        "AWS_SECRET_ACCESS_KEY": "marked-secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    landing = Landing.open("s3://bucket/landing", "incidents")
    assert isinstance(landing.store, ObjectStore)
    landing.store.retries = 0
    with pytest.raises(LandingError, match="s3://bucket/landing/incidents") as failure:
        landing.check_writable()
    assert "marked" not in str(failure.value)
