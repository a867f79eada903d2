"""The campaign notices what it is there for: it fails on designs that do not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from faults.campaign import play
from faults.fault_shim import build
from faults.injected.mutants import MUTANTS
from faults.rounds import Plan, Round, random_of

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

# The faults of each mutant's round, its plan, and the kind of problem that the checker has to find.
_DIRECTED = {
    "merges in place where locks are unreliable": (
        ["several_mergers", "several_mergers"],
        Plan(storage="lying", workers=3, epochs=200, epoch_s=0.005),
        "differ",
    ),
    "claims by lock": ([], Plan(storage="lying", workers=3, trials=60, epochs=2, epoch_s=0.001), "twice"),
    "journals applied without offsets": ([], Plan(workers=1, trials=2), "twice"),
    "nothing flushed": (["kill_group"], Plan(workers=1, trials=2, epochs=60, checkpoint_every_s=0.05), "lost"),
    "progress by what was reported": (
        [],
        Plan(workers=1, trials=2, dies_after=1, checkpoint_every_s=60, attempts=7),
        "loops",
    ),
    "a decoder that trusts types": (["odd_lines"], Plan(workers=1, tries=1), "tracebacks"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The shim; without a C compiler there is none."""
    found = build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs a C compiler")
    return found


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_campaign_fails_on_a_design_that_does_not_hold(tmp_path, library, mutant):
    """With a mutant of the package, its round of the campaign finds what is wrong."""
    kinds, plan, problem = _DIRECTED[mutant]
    one = Round(tmp_path / "round", replace(plan, mutant=mutant), library=library, chance=random_of(1, 0))
    result = play(one, kinds)
    assert result.verdict.problems[problem], f"not noticed: {result.verdict}"
