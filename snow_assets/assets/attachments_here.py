"""Attachments of a pull in this process, on the local Dagster instance: what the command line runs."""

from __future__ import annotations

import os
from contextlib import ExitStack

import dagster as dg

from snow_assets.assets.attachments import attachments_asset, attachments_job
from snow_assets.assets.disk import records_in
from snow_assets.assets.keys import ATTACHMENTS_TAG, PullNames
from snow_assets.assets.local import bury, local_instance, run_here
from snow_assets.config import Credentials, Environment, Settings
from snow_assets.errors import ConfigError
from snow_assets.pulls import Landing, lease
from snow_assets.pulls.attachments import home_of
from snow_assets.pulls.progress import Listener, listening
from snow_assets.resources import LandingResource, ServiceNowResource


def run_attachments(
    settings: Settings,
    environment: Environment,
    name: str,
    *,
    verify: bool = False,
    on_progress: Listener | None = None,
) -> None:
    """Bring the attachments of the pull ``name`` up to its rows, in a run on the local Dagster instance.

    Raises the ``SnowError`` that the run ends with; then, too, the table tells what landed.
    """
    pull = settings.pull(name)
    if pull.attachments is None:
        hint = f"write attachments: true into pull {name}"
        raise ConfigError("does not ask for attachments", key="pull", value=name, hint=hint)
    environment.require_url(settings.instance)
    Credentials.from_environment(environment)
    environment.export()
    home = home_of(Landing.open(environment.data_dir, name))
    home.store.check_writable()
    names = PullNames(name)
    definitions = dg.Definitions(
        assets=[attachments_asset(pull, pool=None)],
        jobs=[attachments_job(pull)],
        resources={
            "servicenow": ServiceNowResource.from_environment(settings.instance, environment),
            "landing": LandingResource(data=environment.data_dir),
        },
        executor=dg.in_process_executor,
    )
    config = {"ops": {names.attachments.to_python_identifier(): {"config": {"verify": verify}}}}
    with ExitStack() as stack:
        stack.enter_context(records_in(environment.dagster_home))
        instance = stack.enter_context(local_instance(environment))
        stack.enter_context(lease(home, f"snow-assets attachments, process {os.getpid()}"))
        bury(instance, {ATTACHMENTS_TAG: name})
        if on_progress is not None:
            stack.enter_context(listening(on_progress))
        job = definitions.resolve_job_def(names.attachments_job)
        run_here(job, instance, {ATTACHMENTS_TAG: name}, config)
