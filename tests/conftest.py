"""The order of tests; which are left out; and in CI a test that is skipped fails: what it wants is to be installed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
import submitit  # noqa: F401 - on import it closes all handlers of logging, with pytest's stream if TensorFlow has one

# A checkout of somebody else, as where root tests it in a container, has profiles and sweeps that tests use.
if Path(__file__).stat().st_uid not in {0, os.geteuid()}:
    os.environ.setdefault("CNN_SWEEP_TRUST", str(Path(__file__).resolve().parent.parent))
# As in workers: tests may import TensorFlow by themselves, and what this process trains must be the same to the bit.
if platform.machine() == "x86_64":
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Files that take minutes begin first, so that at the end no process waits for another one's.
LONG_FILES = (
    "tests/faults/",
    "tests/docs/test_pages.py",
    "tests/training/test_transfer.py",
    "tests/training/test_same_mathematics.py",
    "tests/report/test_page.py",
    "tests/cli/test_run.py",
    "tests/cli/test_workflows.py",
)


def pytest_collection_modifyitems(config, items):
    """Put the files that take minutes first; leave out what only ``CNN_SWEEP_LONG=1`` runs."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG_FILES))
    if os.environ.get("CNN_SWEEP_LONG") != "1":
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session):
    """Fail a run that skipped, where ``CNN_SWEEP_NO_SKIPS`` is set; reasons are told by the summary (``-rs``)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CNN_SWEEP_NO_SKIPS") and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped, and CNN_SWEEP_NO_SKIPS is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
