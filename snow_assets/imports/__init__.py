"""Concurrent imports: staging, import sets, parallel transform, coalesce. No Dagster."""
