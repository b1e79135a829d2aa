#!/usr/bin/env bash
# Outside judges of the simulator: the live test suites of snowloader 0.8.1, unmodified, and a pull by pysnow 0.7.17.
# Both reach the simulator under a public-looking name, through HTTP_PROXY. Everything lives in .peers/.
# Usage: make peers   (or bench/peers.sh; PYTHON=python3.12 to choose the interpreter of the judges)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
home="$root/.peers"
here="$root/bench/peers"
snowloader=0.8.1
sha256=b1bea89dfd9dc4a43f5de5bdebf1046b33020bf68488130e6df8ce4e83284d60
archive="$home/source/snowloader-$snowloader.tar.gz"
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ ! -x "$root/.venv/bin/python" ]; then
    echo "peers: no .venv; run 'make setup' first" >&2
    exit 2
fi

[ -x "$home/venv/bin/python" ] || "${PYTHON:-$root/.venv/bin/python}" -m venv "$home/venv"

if [ ! -f "$archive" ]; then
    "$home/venv/bin/pip" download -q --no-binary :all: --no-deps --dest "$home/source" "snowloader==$snowloader"
fi
echo "$sha256  $archive" | sha256sum --check --quiet

installed="$home/installed-$(cat "$here/requirements.txt" "$archive" | sha256sum | cut -c1-16)"
if [ ! -f "$installed" ]; then
    "$home/venv/bin/pip" install -q -r "$here/requirements.txt" "$archive[langchain,llamaindex]"
    tar -xzf "$archive" -C "$home/source"
    touch "$installed"
fi

PYTHONPATH="$root" exec "$root/.venv/bin/python" "$here/judge.py" "$home"
