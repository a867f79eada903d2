"""In CI a test that is skipped for want of something is a failure: that something is to be installed."""

from __future__ import annotations

import os

import pytest


def pytest_sessionfinish(session):
    """Fail a run that skipped, where ``CNN_SWEEP_NO_SKIPS`` is set; reasons are told by the summary (``-rs``)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CNN_SWEEP_NO_SKIPS") and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped, and CNN_SWEEP_NO_SKIPS is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
