"""Imported once, by the process that others are forked from."""

from __future__ import annotations

from importlib import import_module

for _name in ("snow_assets.assets.local", "snow_assets.definitions", "snow_assets_tests.pulls.crashing"):
    import_module(_name)
