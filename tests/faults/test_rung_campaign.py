"""A study with rungs, killed at random moments: each decision is legal all the same, and nothing saved is redone."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from faults import fault_kinds
from faults.rounds import Plan, Round
from helpers.rung_audit import Audit

from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.history import History

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]  # the audit of predictions takes minutes of processor time

# `make faults` sets 10; the everyday test takes a short cut of the same campaign.
KILLS = int(os.environ.get("CNN_SWEEP_RUNG_KILLS", "2"))
# Between the time that an event bears and its being in the file, a busy machine may let something else run; seconds.
LAG_S = 1.0


@pytest.mark.parametrize("pruner", ["asha", *(pytest.param(p, marks=pytest.mark.long) for p in ("auto", "predictive"))])
def test_every_decision_at_a_rung_is_legal_whatever_is_killed(tmp_path, pruner):
    """Killed at random and resumed, a study ends; the audit proves each promotion; nothing saved is trained again."""
    chance = random.Random(os.environ.get("CNN_SWEEP_FAULT_SEED", "1"))
    plan = Plan(study=pruner, trials=8 * KILLS, epochs=54, checkpoint_every_s=0.1)
    one = Round(tmp_path / "round", plan, library=None, chance=chance)
    try:
        one.begin()
        kills = sum(one.suffer("kill_group", fault_kinds.kill_group) for _ in range(KILLS))
        one.finish()
    finally:
        one.close()
    assert kills == KILLS, f"the study ended after {kills} kills; give it more trials"
    assert one.result.verdict.sound, one.result.verdict

    study = StudyFolder.open(one.results, "s")
    audit = Audit(study.paths, study.sweep, study.plan, lag_s=LAG_S)
    assert list(audit.breaches()) == []
    history = History(study.paths)
    history.refresh()
    states = Counter(trial.state for trial in history.trials.values())
    print(f"{kills} kills, {dict(states)}, {audit.promotions} promotions, {one.result.verdict.repeated} epochs again")
    assert set(states) == {"complete", "pruned"}
