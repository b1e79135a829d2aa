"""An embedded ServiceNow instance for tests and demonstrations. It imports nothing from the rest of the package."""

from __future__ import annotations

from snow_assets.simulator.instance import Simulator
from snow_assets.simulator.knobs import Account, HiddenRows, Knobs, OAuthClient, RateRule
from snow_assets.simulator.server import SimulatorServer

__all__ = ["Account", "HiddenRows", "Knobs", "OAuthClient", "RateRule", "Simulator", "SimulatorServer"]
