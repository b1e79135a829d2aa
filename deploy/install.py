"""Install the lock file into the virtual environment that runs this, then the project itself: ``make setup``.

uv does in seconds what takes pip minutes, but knows nothing of pip's configuration. So pip, which every machine has set
up to its own index, installs uv at the version and hash of the lock; uv is told what pip's configuration says; and
where that does not work, pip does it all. Either way every file is checked against the hashes of the lock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from uv_requirement import locked

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PIP = [sys.executable, "-m", "pip"]


def main() -> int:
    """Returns the exit code of what failed last; 0 when everything is installed."""
    if not (install_with_uv() or install_with_pip()):
        return 1
    # The build backend is in the lock too: nothing is fetched here.
    return _run([*PIP, "install", "-qq", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def install_with_uv() -> bool:
    """Whether uv could be had and installed everything."""
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder) / "uv.txt"
        requirement.write_text(locked(LOCK), encoding="utf-8")
        arguments = ["install", "--quiet", "--no-deps", "--require-hashes", "--requirement", str(requirement)]
        if _run([*PIP, *arguments], quiet=True):
            return False
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    command += ["--no-deps", "--require-hashes", "--requirement", str(LOCK)]
    if _run(command, env={**os.environ, **uv_environment(pip_configuration())}, quiet=True):
        print("uv could not install the lock; pip does, which takes some minutes", file=sys.stderr)
        return False
    return True


def install_with_pip() -> bool:
    """Whether pip installed everything. Bytecode is left to the first import: most modules never see one."""
    arguments = ["install", "-qq", "--no-compile", "--no-deps", "--require-hashes", "--requirement", str(LOCK)]
    return _run([*PIP, *arguments]) == 0


def pip_configuration() -> dict[str, str]:
    """What pip's files and PIP_ variables say, by option (``index-url``); the variables win, as they do for pip."""
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for scope, option, value in _settings(listed):
        found.setdefault(scope, {})[option] = value
    return {**found["global"], **found["install"], **found[":env:"]}


def _settings(listed: str) -> Iterator[tuple[str, str, str]]:
    for line in listed.splitlines():
        name, separator, value = line.partition("=")
        scope, dot, option = name.rpartition(".")
        if separator and dot:
            yield scope, option.replace("_", "-"), value.strip("'\"")


def uv_environment(pip: Mapping[str, str]) -> dict[str, str]:
    """What pip's settings are called by uv. What the user set for uv itself stays."""
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(pip.get("extra-index-url", "").replace("\\n", " ").split()),
        "UV_FIND_LINKS": ",".join(pip.get("find-links", "").replace("\\n", " ").split()),
        "UV_INSECURE_HOST": " ".join(pip.get("trusted-host", "").replace("\\n", " ").split()),
        "SSL_CERT_FILE": pip.get("cert", ""),
        # The hashes say which files are meant, so any index may serve them.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        # An index that cannot be reached is pip's business soon, not after minutes.
        "UV_HTTP_RETRIES": "1",
        # nltk, which comes with llama-index-core, refuses to open files that have a second hard link in uv's cache.
        "UV_LINK_MODE": "copy",
        "UV_NO_PROGRESS": "1",
    }
    return {name: value for name, value in wanted.items() if value and name not in os.environ}


def _run(command: list[str], *, env: Mapping[str, str] | None = None, quiet: bool = False) -> int:
    """Exit code; output is thrown away when ``quiet``."""
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run(command, env=env, cwd=ROOT, stdout=output, stderr=output, check=False).returncode


if __name__ == "__main__":
    if sys.prefix == sys.base_prefix:
        raise SystemExit("run this with the python of the virtual environment: make setup")
    sys.exit(main())
