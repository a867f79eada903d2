"""A short cut of the fault campaign; `make faults` has the long one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from faults.campaign import play_random
from faults.fault_shim import Rule, Shim, build

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

ROUNDS = (0, 1)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The shim, or None without a C compiler; then the kinds that need it do nothing."""
    return build(tmp_path_factory.mktemp("shim"))


@pytest.mark.parametrize("number", ROUNDS)
def test_a_broken_study_ends_as_if_nothing_had_been_broken(tmp_path, library, number):
    """After seven faults and what a user types, no trial is lost, none counts twice, and every value is right."""
    seed = os.environ.get("CNN_SWEEP_FAULT_SEED", "short")
    result = play_random(seed, number, folder=tmp_path, library=library)
    assert result.verdict.sound, (
        f"round {number} of seed {seed} (make faults SEED={seed} ONLY={number})\n{result.verdict}"
    )


def test_the_shim_does_what_it_is_told(tmp_path, library):
    """Calls fail for the files that are named and no others, as often as asked; the wall clock moves."""
    if library is None:
        pytest.skip("needs a C compiler")
    shim = Shim(library, tmp_path / "control")
    shim.move_clock(86400.0)
    shim.fail(Rule(errno.EDQUOT, ("create",), "bad", left=2))
    code = (
        "import os, time\n"
        "for name in ('good', 'bad', 'bad', 'bad'):\n"
        "    try:\n        open(name, 'w').close()\n        print('made')\n"
        "    except OSError as error:\n        print(error.errno)\n"
        "print(time.time() - os.stat('good').st_mtime > 80000)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | shim.environment, capture_output=True, check=True
    )
    shim.close()
    assert told.stdout.decode().split() == ["made", str(errno.EDQUOT), str(errno.EDQUOT), "made", "True"]
