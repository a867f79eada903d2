"""``repeat``: adds seeds to the best configurations, to find out which one is better."""

from __future__ import annotations

from typing import Annotated

import typer

from cnn_sweep.cli.ui.options import RESULTS, Results, StudyName
from cnn_sweep.errors import StudyError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.messages import plural
from cnn_sweep.study import Study
from cnn_sweep.sweep.repeats import MoreRepeats, selection_repeats


def repeat(
    study: StudyName,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="Repeat the best K configurations.")] = 10,
    repeats: Annotated[int, typer.Option(min=2, help="Total repeats of each of them.")] = 5,
    results: Results = RESULTS,
) -> None:
    """Add repeats with new seeds to the best configurations of a study; `resume` runs them, or workers that run now.

    Examples:
      cnn-sweep repeat digits --top 3 --repeats 5
    """
    board = Study.open(results, study).leaderboard_table("configuration")
    best = tuple(row["trial"] for row in board.rows if row["rank"] is not None)[:top]
    if not best:
        raise StudyError(f"study {study!r} has no complete trial yet, so there is nothing to repeat")
    found, added = StudyFolder.open(results, study).extend_repeats(MoreRepeats(best, repeats))
    which = "the best configuration has" if len(best) == 1 else f"the best {len(best)} configurations have"
    if not added:
        print(f"{study}: {which} {repeats} repeats already")
        return
    print(f"{study}: added {plural(added, 'trial')}, so that {which} {repeats} repeats")
    which = "it" if added == 1 else "them"
    trials = Study.open(results, study, merge=False).leaderboard_table("trial").rows
    configurations = {row["trial"]: row["configuration"] for row in trials}
    print(f"`cnn-sweep resume {study}` runs {which}; {_seeds_of_means(found, configurations)}")


def _seeds_of_means(study: StudyFolder, configurations: dict[int, str]) -> str:
    """Return a sentence on whether the means can leave out the seeds by which the newest revision chose."""
    before = selection_repeats(study.revisions[:-1], configurations)
    after = selection_repeats(study.revisions, configurations)
    more = study.revisions[-1].more_repeats
    chosen = [chose[-1] for name, chose in after.items() if chose != before.get(name)]
    if more and more.repeats - min(chosen, default=more.repeats) > 1:
        return "the means will leave out the old seeds once two new ones are complete"
    return "with one new seed the means still include seeds by which `repeat` chose"
