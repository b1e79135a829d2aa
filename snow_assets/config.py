"""What the user declares: ``pulls.yaml``, the environment, the credentials.

Every error is a `ConfigError` (or `CredentialsError`) on one line that names the key, the value found, the file
and line where there is one, and the way out.
"""

from __future__ import annotations

from snow_assets.config_attachments import AttachmentsConfig
from snow_assets.config_documents import DocumentsConfig
from snow_assets.config_environment import Credentials, Environment
from snow_assets.config_graph import GraphConfig
from snow_assets.config_models import InstanceConfig, PullConfig, Settings, Timeout, check_url
from snow_assets.config_schedule import Schedule
from snow_assets.config_yaml import find_problems, load_settings, place_of

__all__ = [
    "AttachmentsConfig",
    "Credentials",
    "DocumentsConfig",
    "Environment",
    "GraphConfig",
    "InstanceConfig",
    "PullConfig",
    "Schedule",
    "Settings",
    "Timeout",
    "check_url",
    "find_problems",
    "load_settings",
    "place_of",
]
