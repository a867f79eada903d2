"""Which tests run together, and in CI a test that is skipped for want of something is a failure: install it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SLURM = Path(__file__).parent / "slurm"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Give ``--dist loadgroup`` the tests of a file as a group, and all tests on Slurm as the first one.

    They share one cluster and mostly wait for it, so that the others have the processors meanwhile.
    """
    items.sort(key=lambda item: not item.path.is_relative_to(SLURM))
    for item in items:
        group = SLURM if item.path.is_relative_to(SLURM) else item.path
        item.add_marker(pytest.mark.xdist_group(str(group.relative_to(SLURM.parent))))


def pytest_sessionfinish(session):
    """Fail a run that skipped, where ``CNN_SWEEP_NO_SKIPS`` is set; reasons are told by the summary (``-rs``)."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CNN_SWEEP_NO_SKIPS") and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"{len(skipped)} tests were skipped, and CNN_SWEEP_NO_SKIPS is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
