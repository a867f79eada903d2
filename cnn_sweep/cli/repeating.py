"""``repeat``: more seeds for the configurations where it matters which is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnn_sweep.errors import StudyError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.study import Study
from cnn_sweep.sweep.repeats import MoreRepeats, repeats_that_chose

if TYPE_CHECKING:
    from pathlib import Path


def repeat(results: Path, name: str, *, top: int, repeats: int) -> None:
    """Plan repeats of a study's best configurations, and say how they are run."""
    rows = [row for row in Study.open(results, name).leaderboard_table("configuration").rows if row["rank"] is not None]
    if not rows:
        raise StudyError(f"study {name!r} has no complete trial yet, so there is nothing to repeat")
    best = tuple(row["trial"] for row in rows[:top])
    study, added = StudyFolder.open(results, name).extend_repeats(MoreRepeats(best, repeats))
    which = "the best configuration has" if len(best) == 1 else f"the best {len(best)} configurations have"
    if not added:
        print(f"{name}: {which} {repeats} repeats already")
        return
    print(f"{name}: added {plural(added, 'trial')}, so that {which} {repeats} repeats")
    which = "it" if added == 1 else "them"
    trials = Study.open(results, name, merge=False).leaderboard_table("trial").rows
    configurations = {row["trial"]: row["configuration"] for row in trials}
    print(f"`cnn-sweep resume {name}` runs {which}; {_what_counts(study, configurations)}")


def _what_counts(study: StudyFolder, configurations: dict[int, str]) -> str:
    """Say whether the means can leave out the seeds by which the newest revision chose."""
    before = repeats_that_chose(study.revisions[:-1], configurations)
    after = repeats_that_chose(study.revisions, configurations)
    more = study.revisions[-1].more_repeats
    chosen = [chose[-1] for name, chose in after.items() if chose != before.get(name)]
    if more and more.repeats - min(chosen, default=more.repeats) > 1:
        return "the means will leave out the old seeds once two new ones are complete"
    return "with one new seed the means still include seeds by which `repeat` chose"
