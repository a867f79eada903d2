"""Repeats of some configurations only: a revision that adds nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cnn_sweep.errors import StudyError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.search.plan import make_plan
from cnn_sweep.sweep.repeats import MoreRepeats, read_more_repeats
from cnn_sweep.sweep.sweep import Sweep


@pytest.mark.parametrize("search", ["method: random, trials: 6", "method: tpe, trials: 6", "method: grid"])
def test_repeats_follow_all_other_trials(sweep, digits, search):
    """Named configurations get their repeats with the next seeds; numbers of the others never move."""
    old, longer = sweep(search), sweep(search, ("search: {", "search: {repeats: 2, "))
    before = make_plan([old], digits).trials
    more = replace(old, more_repeats=MoreRepeats((4, 1), 3))
    after = make_plan([old, more], digits).trials
    assert after[: len(before)] == before
    added = after[len(before) :]
    assert [(t.repeat, t.seed) for t in added] == [(1, 1), (1, 1), (2, 2), (2, 2)]
    sources = [before[number] for number in (4, 1, 4, 1)]
    assert [t.params for t in added] == [t.params for t in sources]
    if added[0].params is None:
        assert [t.same_as for t in added] == [4, 1, 4, 1]
    last = make_plan([old, more, longer], digits).trials
    assert last[: len(after)] == after
    assert len(last) == 2 * len(before) + 2  # the third repeats stay, the second ones are not planned twice


def test_a_study_keeps_its_sweep(tmp_path, sweep):
    """The new revision means the same sweep: the user's file continues the study, and asking twice adds nothing."""
    own = sweep("method: random, trials: 4")
    StudyFolder.open_or_create(own, tmp_path)
    study, added = StudyFolder.open(tmp_path, "s").extend_repeats(MoreRepeats((0, 2), 4))
    assert added == 6
    assert len(study.plan.trials) == 9
    assert StudyFolder.open(tmp_path, "s").plan == study.plan
    assert StudyFolder.open_or_create(own, tmp_path).plan == study.plan
    assert StudyFolder.open(tmp_path, "s").extend_repeats(MoreRepeats((2,), 3))[1] == 0
    again, added = StudyFolder.open(tmp_path, "s").extend_repeats(MoreRepeats((2,), 5))
    assert added == 1
    assert read_more_repeats(again.sweep.text) == MoreRepeats((2,), 5)
    assert again.sweep.text.count("# cnn-sweep repeat") == 1
    assert StudyFolder.open_or_create(Sweep.parse(again.sweep.text), tmp_path).plan == again.plan
    copied = Sweep.parse(again.sweep.text.replace("study: s", "study: copied"))
    assert len(StudyFolder.open_or_create(copied, tmp_path).plan.trials) == 3
    with pytest.raises(StudyError, match="no study"):
        StudyFolder.open(tmp_path, "other").extend_repeats(MoreRepeats((0,), 2))
