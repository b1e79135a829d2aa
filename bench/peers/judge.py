"""Serve a simulator, let the peers loose on it, and judge: exit 0 only when all passed that must.

All of snowloader's live tests have to pass, none skipped, but for one: ``test_incident_metadata_has_raw_cmdb_ci``
expects a sys_id where an instance with ``sysparm_display_value=true`` sends only a display value and a link. That one
has to fail, and for that reason. pysnow has to read every incident exactly once, value for value.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from snow_assets.simulator import Simulator, SimulatorServer

HOST = "dev1.service-now.com"
SUITES = ("test_live.py", "test_e2e_shipped.py", "test_live_v030.py")
TESTS = 85
EXCEPTION = "test_incident_metadata_has_raw_cmdb_ci"
REASON = "doesn't look like a sys_id"


def main(home: Path) -> int:
    """Run both peers; 0 when both are content, else 1."""
    sim = Simulator(rows={"incident": 400}, seed=1)
    with sim.serve() as server:
        complaints = [*_snowloader(home, server), *_pysnow(home, sim, server)]
    for complaint in complaints:
        print(f"peers: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


def _environment(server: SimulatorServer) -> dict[str, str]:
    """The judges' environment: the simulator is their proxy, whatever was set before."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    inherited.pop("PYTHONPATH", None)
    names = {"SNOW_INSTANCE": f"http://{HOST}", "SNOW_USER": server.username, "SNOW_PASS": server.password}
    return inherited | names | {"HTTP_PROXY": server.url, "http_proxy": server.url, "NO_PROXY": "", "no_proxy": ""}


def _snowloader(home: Path, server: SimulatorServer) -> list[str]:
    folder = next((home / "source").glob("snowloader-*/"))
    report = home / "snowloader.xml"
    report.unlink(missing_ok=True)
    suites = [f"tests/integration/{name}" for name in SUITES]
    options = ["-q", "--tb=short", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    command = [str(home / "venv/bin/python"), "-m", "pytest", *options, f"--junitxml={report}", *suites]
    subprocess.run(command, cwd=folder, env=_environment(server), check=False)
    if not report.exists():
        return ["snowloader: pytest wrote no report"]
    return _verdict(report)


def _verdict(report: Path) -> list[str]:
    cases = list(ET.parse(report).getroot().iter("testcase"))
    failed = {case.get("name", ""): _failure(case) for case in cases if _failure(case) is not None}
    skipped = [case.get("name", "") for case in cases if case.find("skipped") is not None]
    complaints = [f"snowloader: {name} was skipped" for name in skipped]
    complaints += [f"snowloader: {name} failed" for name in failed if name != EXCEPTION]
    if len(cases) != TESTS:
        complaints.append(f"snowloader: {len(cases)} tests instead of {TESTS}")
    if REASON not in (failed.get(EXCEPTION) or ""):
        complaints.append(f"snowloader: {EXCEPTION} was to fail with {REASON!r}, and did not")
    passed = len(cases) - len(failed) - len(skipped)
    print(f"snowloader {passed} of {len(cases)} passed, {len(skipped)} skipped; known exception: {EXCEPTION}")
    return complaints


def _failure(case: ET.Element) -> str | None:
    found = [*case.findall("failure"), *case.findall("error")]
    return " ".join(one.get("message", "") for one in found) if found else None


def _pysnow(home: Path, sim: Simulator, server: SimulatorServer) -> list[str]:
    script = Path(__file__).with_name("pysnow_pull.py")
    command = [str(home / "venv/bin/python"), str(script), HOST, server.username, server.password]
    run = subprocess.run(command, env=_environment(server), check=False, capture_output=True, text=True)
    if run.returncode:
        return [f"pysnow: {(run.stderr.strip().splitlines() or ['failed without a word'])[-1]}"]
    read = [tuple(line.split("\t")) for line in run.stdout.splitlines()]
    held = sorted((row["sys_id"], row["number"], row.get("caller_id", "")) for row in sim.rows("incident"))
    print(f"pysnow     {len(read)} incidents read, {len(held)} held")
    return [] if read == held else ["pysnow: what it read is not what the simulator holds"]


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
