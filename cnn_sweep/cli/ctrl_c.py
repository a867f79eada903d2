"""Ctrl-C while the command `cnn-sweep` is being imported: it ends without a traceback."""

from __future__ import annotations

import signal
import sys
from typing import Final

# Whether this process is the command `cnn-sweep`, and no other program that imports this package.
IS_PROGRAM: Final = any(word == "cnn_sweep.cli.main" or word.endswith("/cnn-sweep") for word in sys.orig_argv[1:5])

if IS_PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until `main`, which takes Ctrl-C over, it would print a traceback of imports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
