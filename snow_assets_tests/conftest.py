"""For all tests."""

from __future__ import annotations

import signal

# A job in the background of a shell is started with SIGINT ignored, and programs that it starts inherit that: then the
# commands under test would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
