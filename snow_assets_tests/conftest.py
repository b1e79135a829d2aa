"""For all tests."""

from __future__ import annotations

import os
import signal

# A job in the background of a shell is started with SIGINT ignored, and programs that it starts inherit that: then the
# commands under test would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The machine's own certificates and proxies must not shine through; tests that mean them set them.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
    os.environ.pop(name, None)
