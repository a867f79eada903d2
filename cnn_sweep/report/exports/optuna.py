"""Exports a study to an Optuna storage, for Optuna's plots, its command line and optuna-dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.sweep_files import newest_revision
from cnn_sweep.report.exports.trials import Run, runs
from cnn_sweep.search.optuna_study import ExportedTrial, mirror_study, write_study

if TYPE_CHECKING:
    from cnn_sweep.store.reader import StoreReader
    from cnn_sweep.sweep.sweep import Sweep

_ATTRIBUTES: Final = (
    *("trial", "state", "cause", "configuration", "repeat", "seed"),
    *("best_epoch", "epochs", "parameters", "seconds"),
)


def to_optuna(store: StoreReader, study: str, destination: str) -> list[str]:
    """Write a study of the same name. Epochs become steps; a trial's other columns become user attributes.

    Args:
        store: The store with the study.
        study: The study's name.
        destination: A storage's address, such as ``sqlite:///study.db``, or the path of an SQLite file.

    Returns:
        The study's address, name and number of trials.

    Raises:
        InputError: The storage has a study of that name already.
        EnvironmentFault: The storage cannot be written.
    """
    address = destination if "://" in destination else f"sqlite:///{destination}"
    written = write_study(address, *_sweep_and_trials(store, study))
    return [f"{address}: study {study} of {written} trials"]


def mirror(store: StoreReader, study: str, storage: str) -> int:
    """Add newly finished trials to a copy of a study in an Optuna storage; return their number.

    Raises:
        EnvironmentFault: The storage cannot be written.
    """
    return mirror_study(storage, *_sweep_and_trials(store, study))


def _sweep_and_trials(store: StoreReader, study: str) -> tuple[Sweep, list[ExportedTrial]]:
    sweep = newest_revision(StudyPaths(store.results, study))
    return sweep, [_exported_trial(run, sweep) for run in runs(store, study)]


def _exported_trial(run: Run, sweep: Sweep) -> ExportedTrial:
    facts, metric = run.facts, sweep.objective.metric
    best: dict[str, Any] = next((m for epoch, _, m in run.epochs if epoch == facts["best_epoch"]), {})
    others = [best.get(one.metric, facts.get(one.metric)) for one in sweep.objectives[1:]]
    several = len(sweep.objectives) > 1  # Optuna then accepts no steps
    return ExportedTrial(
        params=run.params,
        state=str(facts["state"]),
        values=(facts["value"], *others),
        constraints={one.text: one.value(facts | best) for one in sweep.outcome_constraints} if best else {},
        steps={} if several else {epoch: metrics[metric] for epoch, _, metrics in run.epochs if metric in metrics},
        attributes={name: run.trial if name == "trial" else facts.get(name) for name in _ATTRIBUTES} | best | run.tests,
        started=facts["started"] or 0.0,
        ended=facts["ended"],
    )
