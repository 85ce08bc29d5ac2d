"""What all tests need."""

from __future__ import annotations

import signal

# A shell starts what runs in its background deaf to Ctrl-C, and what that starts is, too: tests of Ctrl-C would wait
signal.signal(signal.SIGINT, signal.default_int_handler)
