"""A whole pull in this process, on the local Dagster instance, so that the UI shows it: what the command line runs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from snow_assets.assets.dbt import dbt_parts
from snow_assets.assets.disk import records_in
from snow_assets.assets.documents import documents_made_of
from snow_assets.assets.failures import cause
from snow_assets.assets.keys import DRIVER_TAG, PULL_TAG, PullNames, plan_config, publish_config, range_tags, run_tags
from snow_assets.assets.pull import pull_parts
from snow_assets.assets.slices import SlicesFailed
from snow_assets.config import Credentials, Environment, PullConfig, Settings
from snow_assets.dagster_home import write_dagster_home
from snow_assets.errors import ConfigError, PlanIncomplete, SnowError
from snow_assets.pulls import (
    Current,
    Dataset,
    Landing,
    Plan,
    Totals,
    current,
    lease,
    missing_keys,
    published,
    published_plan,
    read_totals,
)
from snow_assets.pulls.progress import Listener, listening
from snow_assets.resources import LandingResource, ServiceNowResource

TERMINAL = "terminal"


@dataclass
class PullOutcome:
    """How far a pull came. ``error`` is ``None`` where it is complete and published.

    ``failed`` pairs partition keys with causes, for this call's slices. ``landed`` counts slices of the plan whose
    files lie in the landing. ``current``: the current rows of a delta pull. ``dbt_failed``: the dataset is published,
    and what is built from it is not.
    """

    pull: str
    plan: Plan
    landed: int = 0
    failed: tuple[tuple[str, SnowError], ...] = ()
    totals: Totals | None = None
    dataset: Dataset | None = None
    current: Current | None = None
    error: SnowError | None = None
    dbt_failed: str = ""
    runs: list[str] = field(default_factory=list)

    @property
    def published(self) -> bool:
        """Whether the dataset is this plan's."""
        return self.dataset is not None and self.dataset.plan == self.plan.plan_id


def run_pull(
    settings: Settings,
    environment: Environment,
    name: str,
    *,
    new: bool = False,
    base: bool = False,
    accept: str | None = None,
    on_progress: Listener | None = None,
) -> PullOutcome:
    """Plan, land, reconcile and publish the pull ``name``, in at least three runs on the local Dagster instance.

    ``accept`` names the newest plan: it is gone on with as it is, and published although its rows fell. ``base`` has a
    delta pull read every row anew.

    Returns how far it came once there is a plan; raises a ``SnowError`` where there is none (configuration,
    credentials, an unknown table, a live run of the same pull). A signal leaves as ``KeyboardInterrupt``; what landed
    stays.
    """
    pull = settings.pull(name)
    environment.require_url(settings.instance)
    Credentials.from_environment(environment)
    environment.export()
    definitions = _definitions(settings, environment, pull)
    landing = Landing.open(environment.data_dir, name)
    landing.check_writable()
    with ExitStack() as stack:
        stack.enter_context(records_in(environment.dagster_home))
        instance = stack.enter_context(local_instance(environment))
        stack.enter_context(lease(landing, f"snow-assets pull, process {os.getpid()}"))
        bury(instance, {PULL_TAG: name})
        if on_progress is not None:
            stack.enter_context(listening(on_progress))
        run = _Runs(definitions, instance, PullNames(name))
        if accept is None:
            run.plan(new, base)
        plan = landing.latest_plan()
        if plan is None or accept not in (None, plan.plan_id):
            raise PlanIncomplete("is gone, or not the newest plan", key="plan", value=accept or "")
        outcome = PullOutcome(name, plan, runs=run.run_ids)
        _finish(outcome, run, landing, accept is not None, pull.slices_per_run)
        return outcome


def _definitions(settings: Settings, environment: Environment, pull: PullConfig) -> dg.Definitions:
    """The pull and what depends on it; no sensor, no schedule."""
    pool = None  # an in-process run would wait for a slot in a busy loop; the lease guards
    parts = pull_parts(pull, pool, settings.pulls)
    dbt = dbt_parts(environment, list(settings.pulls.values()), pool=None)  # a model may read several pulls
    servicenow = ServiceNowResource.from_environment(settings.instance, environment)
    landing = LandingResource(data=environment.data_dir)
    return dg.Definitions(
        assets=[*parts.assets, *documents_made_of(pull, settings.pulls), *dbt.assets],
        jobs=list(parts.jobs),
        resources={"servicenow": servicenow, "landing": landing, **dbt.resources},
        executor=dg.in_process_executor,
    )


def _finish(outcome: PullOutcome, run: _Runs, landing: Landing, accept: bool, slices_per_run: int) -> None:
    plan = outcome.plan
    try:
        run.slices(plan, landing, slices_per_run)
        run.publish(plan, accept)
    except SlicesFailed as error:
        outcome.failed = error.failed
        outcome.error = max((each for _, each in error.failed), key=lambda each: each.exit_code)
    except SnowError as error:
        outcome.error = error
    except (dg.Failure, dg.DagsterError) as error:
        if published_plan(landing) != plan.plan_id:
            raise
        outcome.dbt_failed = _line(error)
    finally:
        outcome.landed = len(plan.slices) - len(missing_keys(plan, landing))
        outcome.totals = read_totals(landing, plan.plan_id)
        outcome.dataset = published(landing)
        outcome.current = current(landing) if plan.mode == "delta" else None


class _Runs:
    """The runs of one pull on one instance."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance, names: PullNames) -> None:
        self.definitions = definitions
        self.instance = instance
        self.names = names
        self.run_ids: list[str] = []

    def plan(self, new: bool, base: bool) -> None:
        """One run of the plan job."""
        config = plan_config(self.names, new=new, base=base)
        self._run(self.names.plan_job, run_tags(self.names.pull, "plan"), config)

    def slices(self, plan: Plan, landing: Landing, slices_per_run: int) -> None:
        """Runs over what has not landed, ``slices_per_run`` at a time; a failed one does not stop the next."""
        failed: list[tuple[str, SnowError]] = []
        missing = list(missing_keys(plan, landing))
        while missing:
            start = plan.partition_keys.index(missing[0])
            within = set(plan.partition_keys[start : start + slices_per_run])
            chosen = [key for key in missing if key in within]
            missing = missing[len(chosen) :]
            tags = {**run_tags(self.names.pull, "slices", plan.plan_id), **range_tags(chosen[0], chosen[-1])}
            try:
                self._run(self.names.slices_job, tags)
            except SlicesFailed as error:
                failed += error.failed
                if any(each.exit_code != 1 for _, each in error.failed):
                    break
        if failed:
            raise SlicesFailed(self.names.pull, len(plan.slices), failed)

    def publish(self, plan: Plan, accept: bool) -> None:
        """One run of totals, dataset and what depends on it."""
        tags = run_tags(self.names.pull, "publish", plan.plan_id)
        config = publish_config(self.names, plan.plan_id, accept=accept, mode=plan.mode)
        self._run(self.names.publish_job, tags, config)

    def _run(self, job: str, tags: Mapping[str, str], config: Mapping[str, Any] | None = None) -> None:
        self.run_ids.append(run_here(self.definitions.resolve_job_def(job), self.instance, tags, config))


def run_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str],
    config: Mapping[str, Any] | None = None,
) -> str:
    """Run a job here, and return the run's id. Raises the ``SnowError`` behind a failure, or ``SlicesFailed``."""
    whole = {**(config or {}), **_loggers()}
    try:
        return job.execute_in_process(run_config=whole, tags={**tags, DRIVER_TAG: TERMINAL}, instance=instance).run_id
    except SlicesFailed:
        raise
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    except (dg.Failure, dg.DagsterError) as error:
        found = cause(error)
        if found is None:
            raise
        raise found from error


def bury(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> None:
    """End the runs of these tags that a dead process left behind: who holds the lease knows that none is alive."""
    tags = {**tags, DRIVER_TAG: TERMINAL}
    for run in instance.get_runs(filters=dg.RunsFilter(tags=tags, statuses=list(NOT_FINISHED_STATUSES))):
        instance.report_run_failed(run, "The process that ran it is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


@contextmanager
def local_instance(environment: Environment) -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, which is made where there is none yet."""
    home = environment.dagster_home
    write_dagster_home(home)
    os.environ["DAGSTER_HOME"] = str(home)
    try:
        instance = dg.DagsterInstance.get()
    except dg.DagsterInvalidConfigError as error:
        found = "; ".join(each.message for each in error.errors)
        hint = "mend dagster.yaml, or move it away: the next pull writes a new one"
        raise ConfigError(f"its dagster.yaml: {found}", key="DAGSTER_HOME", value=home, hint=hint) from None
    with instance:
        yield instance


def _line(error: dg.Failure | dg.DagsterError) -> str:
    """What an error of Dagster or dbt says, on one line."""
    text = (error.description or "") if isinstance(error, dg.Failure) else str(error)
    return " ".join(text.split())[:500]


def _loggers() -> dict[str, Any]:
    """Run config that keeps Dagster's log off the terminal unless debug messages are wanted."""
    level = "DEBUG" if logging.getLogger("snow_assets").isEnabledFor(logging.DEBUG) else "CRITICAL"
    return {"loggers": {"console": {"config": {"log_level": level}}}}
