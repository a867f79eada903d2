"""Adds many trials to a study in an Optuna storage at once, as the rows that Optuna itself would write.

Optuna adds them one by one, each with a query or two for every value: minutes for thousands of trials. Its tables are
below its documented interface; a test compares the rows with those of `optuna.Study.add_trials`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

_TOGETHER: Final = 500  # trials whose rows are in memory at a time


def add_trials(storage: RDBStorage, study: str, trials: Sequence[FrozenTrial]) -> None:
    """Add trials, all of them or none.

    Args:
        storage: The storage.
        study: Name of the study, which exists.
        trials: The trials; their distributions agree with those of the study.

    Raises:
        KeyError: There is no such study (any more).
    """
    number = storage.get_study_id_from_name(study)
    with storage.scoped_session() as session, session.begin():
        models.StudyModel.find_or_raise_by_id(number, session, for_update=True)
        for first in range(0, len(trials), _TOGETHER):
            _add(session, number, trials[first : first + _TOGETHER])


def _add(session: Any, study: int, trials: Sequence[FrozenTrial]) -> None:
    added = [
        models.TrialModel(
            study_id=study,
            number=None,
            state=trial.state,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
        )
        for trial in trials
    ]
    session.add_all(added)
    session.flush()  # gives them their ids, and locks an SQLite file, so that nobody else counts trials meanwhile
    before = added[0].count_past_trials(session)
    for place, row in enumerate(added):
        row.number = before + place
    session.flush()
    pairs = [(row.trial_id, trial) for row, trial in zip(added, trials, strict=True)]
    for table, rows_of in _ROWS.items():
        session.bulk_insert_mappings(table, [{"trial_id": key} | row for key, trial in pairs for row in rows_of(trial)])
    session.expunge_all()


def _values(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"objective": objective, "value": stored, "value_type": kind}


def _params(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, value in trial.params.items():
        own = trial.distributions[name]
        stored, text = own.to_internal_repr(value), distribution_to_json(own)
        yield {"param_name": name, "param_value": stored, "distribution_json": text}


def _user_attributes(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    yield from ({"key": key, "value_json": json.dumps(value)} for key, value in trial.user_attrs.items())


def _system_attributes(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    yield from ({"key": key, "value_json": json.dumps(value)} for key, value in trial.system_attrs.items())


def _steps(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}


_ROWS: Final = {
    models.TrialValueModel: _values,
    models.TrialParamModel: _params,
    models.TrialUserAttributeModel: _user_attributes,
    models.TrialSystemAttributeModel: _system_attributes,
    models.TrialIntermediateValueModel: _steps,
}
