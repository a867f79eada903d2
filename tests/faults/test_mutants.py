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

_ROUNDS = 5
# The mutants of every run; the others need half a minute each, and run in the long form.
_QUICK = ("claims by lock", "journals applied without offsets")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The shim; without a C compiler there is none."""
    found = build(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("needs a C compiler")
    return found


def _problems(folder, library, mutant, *, number=0, present=True):
    """Play the mutant's round, with the mutant or without it; return the problems of its kind."""
    kinds, plan, problem = _DIRECTED[mutant]
    plan = replace(plan, mutant=mutant if present else "")
    result = play(Round(folder / f"round-{number}", plan, library=library, chance=random_of(1, number)), kinds)
    return result.verdict.problems[problem]


@pytest.mark.parametrize(
    "mutant", [one if one in _QUICK else pytest.param(one, marks=pytest.mark.long) for one in MUTANTS]
)
def test_the_campaign_fails_on_a_design_that_does_not_hold(tmp_path, library, mutant):
    """With a mutant of the package, one of a few rounds finds what is wrong: each may miss the moment that shows it."""
    assert any(_problems(tmp_path, library, mutant, number=number) for number in range(_ROUNDS)), "not noticed"


@pytest.mark.long
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_round_of_a_mutant_finds_nothing_without_it(tmp_path, library, mutant):
    """It is the mutant that the campaign notices, and not the faults of its round."""
    assert _problems(tmp_path, library, mutant, present=False) == []
