"""The job of the tests: writes down who it is, and then does what its first argument says."""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path

from cnn_sweep.journal.identity import current
from cnn_sweep.slurm.commands import SlurmCli
from cnn_sweep.slurm.job_states import Incarnation


def main(action, path):
    """Write this incarnation into a file, and act."""
    own = SlurmCli().own_job()
    os.environ["CNN_SWEEP_SUBMIT_TIME"] = "" if own is None else str(own.submitted or "")
    incarnation = Incarnation.from_slurm(current().slurm, started=time.time())
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(incarnation)) + "\n")
    if action == "raise":
        raise RuntimeError("as the test wants it")
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "eat":
        hoard = [bytearray(b"x" * (50 << 20)) for _ in range(16)]
        time.sleep(60 + len(hoard))
    if action == "first-ignores-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if action == "sleep" or (action.startswith("first-") and not incarnation.restarts):
        time.sleep(600)


main(*sys.argv[1:])
