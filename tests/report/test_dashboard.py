"""``cnn-sweep dashboard``: optuna-dashboard on loopback, on a copy that keeps up."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from cnn_sweep.cli.commands.dashboard import dashboard
from cnn_sweep.errors import InputError
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _asked(address, what):
    with urllib.request.urlopen(f"{address}/api/{what}", timeout=20) as answer:
        return json.load(answer)


def test_the_dashboard_shows_a_study_and_keeps_up(written):
    """optuna-dashboard's own API gives the trials, and those that finish later; an interrupt ends it and its server."""
    pytest.importorskip("optuna_dashboard")
    written.study(trials=6, states=("complete", "complete", "failed"))
    port = _free_port()
    command = [
        sys.executable,
        "-m",
        "cnn_sweep.cli.main",
        "dashboard",
        "digits",
        "--port",
        str(port),
        "--interval",
        "1",
    ]
    run = subprocess.Popen(
        command,
        env=os.environ | {"CNN_SWEEP_RESULTS": str(written.results)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        address = run.stdout.readline().strip()
        assert address == f"http://127.0.0.1:{port}", run.stderr.read()
        (summary,) = _asked(address, "studies")["study_summaries"]
        assert summary["study_name"] == "digits"
        trials = f"studies/{summary['study_id']}?after=0"
        found = _asked(address, trials)["trials"]
        assert sorted(trial["state"] for trial in found) == ["Complete"] * 4 + ["Fail"] * 2
        with pytest.raises(InputError, match=f"--port {port} is in use"):
            dashboard("digits", port, 1.0, written.results)

        params = {"filters": 8, "optimizer": "adam", "learning_rate": 0.01}
        later = [
            Worker(9_000.0, ProcessIdentity("node8", "boot", "pid:[1]", 9, 9), {}, 1),
            Start(9_000.0, 6, 0, "c6", 0, 6, params),
            Epoch(9_001.0, 6, 0, 1, 1.0, {"val_accuracy": 0.99}),
            End(9_002.0, 6, 0, "complete", None, None, 1, 1.0),
        ]
        StudyPaths(written.results, "digits").journal("later").write_bytes(b"".join(map(encode, later)))
        deadline = time.monotonic() + 60
        while len(found := _asked(address, trials)["trials"]) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert [0.99] in [trial.get("values") for trial in found]
    finally:
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=60)
    assert run.returncode == 0, said
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in said
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
