"""What follows from a study's plan where the journals cannot say it, because lines of them are damaged.

The plan follows from the frozen sweep files, so the number of trials and their hyperparameters can be derived again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, select, update

from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import data_root
from cnn_sweep.journal.sweep_files import read_revisions
from cnn_sweep.store import schema, sqlite
from cnn_sweep.store.sqlite import to_sorted_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.search.plan import Plan

_CONFIGURATIONS = sqlite.upsert(schema.configurations, ("study", "configuration", "params_json"))


def plan_of(paths: StudyPaths) -> Plan | None:
    """Return a study's plan; None if its sweep files are damaged, or its images are unknown."""
    from cnn_sweep.search.plan import make_plan  # noqa: PLC0415 - slow to import, and hardly ever needed
    from cnn_sweep.training.data.prepare import described  # noqa: PLC0415 - as above

    try:
        revisions = read_revisions(paths)
        info = described(revisions[-1].data, revisions[-1].folder, data_root(paths.results))
        return make_plan(revisions, info)
    except CnnSweepError:
        return None


def planned_counts(paths: StudyPaths) -> dict[str, int] | None:
    """Return the counts that the event of a study's newest revision would have; None without a plan."""
    plan = plan_of(paths)
    if plan is None:
        return None
    counts = {"trials": plan.trials, "configurations": plan.configurations, "invalid": plan.invalid}
    return {name: len(found) for name, found in counts.items()} | {"duplicates": plan.duplicates}


def complete_trials(connection: Connection, paths: StudyPaths) -> None:
    """Give the touched trials whose starts are damaged the configuration, repeat, fold and seed that were planned."""
    t = schema.trials.c
    touched = select(schema.touched.c.trial)
    query = select(t.trial).where(t.study == paths.study, t.trial.in_(touched), t.attempts > 0, t.seed.is_(None))
    numbers = list(connection.execute(query).scalars())
    plan = plan_of(paths) if numbers else None
    trials = plan.trials if plan is not None else ()
    for number in (number for number in numbers if number < len(trials)):
        planned = trials[number]
        values: dict[str, Any] = {"repeat": planned.repeat, "fold": planned.fold, "seed": planned.seed}
        if planned.params is not None:
            values["configuration"] = planned.configuration
            row = (paths.study, planned.configuration, to_sorted_json(planned.params))
            sqlite.run_many(connection, _CONFIGURATIONS, [row])
        of_trial = (t.study == paths.study, t.trial == number)
        connection.execute(update(schema.trials).where(*of_trial).values(values))


def planned_configurations(connection: Connection, study: str) -> list[str]:
    """Return the configurations that touched trials have from the plan alone, because no start was readable."""
    t, a = schema.trials.c, schema.attempts.c
    of_trial = (a.study == t.study, a.trial == t.trial, a.configuration == t.configuration)
    query = select(t.configuration).where(t.study == study, t.trial.in_(select(schema.touched.c.trial)))
    found = connection.execute(query.where(t.configuration.is_not(None), ~exists().where(*of_trial)))
    return list(found.scalars())


def drop_unused(connection: Connection, study: str, configurations: list[str]) -> None:
    """Drop those of some configurations that no trial has: its start is readable by now, and names another."""
    c, t, a = schema.configurations.c, schema.trials.c, schema.attempts.c
    for name in configurations:
        of_trial = exists().where(t.study == study, t.configuration == name)
        of_attempt = exists().where(a.study == study, a.configuration == name)
        one = (c.study == study, c.configuration == name)
        connection.execute(delete(schema.configurations).where(*one, ~of_trial, ~of_attempt))
