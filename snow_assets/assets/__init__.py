"""The Dagster face of ``snow_assets.pulls``: thin assets, jobs and the reconciler's decisions."""
