"""The process that uses trained models, so that the user's command does not load TensorFlow.

Started as ``python -m cnn_sweep.execution.models.server FOLDER`` by :mod:`cnn_sweep.execution.models.client`. The
folder contains the request and receives the answer: ``answer.json``, and arrays as ``.npy`` files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cnn_sweep import streams
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, InputError, Interrupted, StudyError, faults_of_the_system
from cnn_sweep.execution.models.client import ANSWER, Request
from cnn_sweep.execution.models.mixture import Mixture
from cnn_sweep.execution.models.model_files import (
    best_trials,
    complete_trial,
    members_of,
    mixture_file,
    model_file,
    predicting_file,
)
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import threads_of, threads_of_trial
from cnn_sweep.execution.study.user_code import uses_user_code
from cnn_sweep.journal.events import Finalize
from cnn_sweep.journal.sharing import shared_modes
from cnn_sweep.training.evaluation.metrics import per_class
from cnn_sweep.training.session import configure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.execution.worker.study_trainer import Opened, StudyTrainer
    from cnn_sweep.journal.history import History
    from cnn_sweep.training.evaluation.evaluate import Measured


def answer(folder: Path) -> None:
    """Process the request in a folder, and write the answer into it; our own errors are answers, too."""
    try:
        with faults_of_the_system():
            request = Request.read(folder)
            # What the user saves elsewhere has the mode that the user's umask gives.
            with shared_modes(request.results) if request.work != "save" else nullcontext():
                found = _answer(request, folder)
    except CnnSweepError as error:
        kind = next(
            kind for kind in (StudyError, InputError, EnvironmentFault, CnnSweepError) if isinstance(error, kind)
        )
        found = {"error": kind.__name__, "message": str(error)}
    (folder / ANSWER).write_text(json.dumps(found), encoding="utf-8")


def _answer(request: Request, folder: Path) -> dict[str, Any]:
    study = StudyFolder.open(request.results, request.study)
    history = study.history()
    if request.work == "finalize":
        numbers = best_trials(study, history, request.top)  # refuses before TensorFlow starts
        trainer = _start_trainer(study, history, numbers[0])
        done = finalize(study, history, trainer, request.mixture or numbers)
        np.save(folder / "losses.npy", done.measured.losses)
        found = {"trial": done.trials[0], "trials": done.trials, "metrics": done.measured.metrics}
        return found | _predict(study, trainer, done.model, folder, trainer.open("test"))
    number = complete_trial(study, history, request.trial if request.mixture is None else request.mixture.trial)
    if request.split == "test" and not history.finalized:
        raise StudyError(
            f"the test set of {request.study!r} is sealed until `cnn-sweep finalize {request.study}`; "
            "the validation set is open"
        )
    kept = study.paths.model(number)
    is_alone = request.trial is not None or study.sweep.fold_count == 1
    if (
        request.work == "save"
        and request.mixture is None
        and is_alone
        and kept.is_file()
        and Path(request.output).suffix == kept.suffix
    ):
        _save(kept, Path(request.output))  # copying needs no TensorFlow
        return {"trial": number}
    trainer = _start_trainer(study, history, number)
    # Together, the networks of all folds have been trained with all images that validate one of them.
    stands_alone = is_alone or request.split == "validation"
    if request.mixture is not None:
        model = mixture_file(study, history, request.mixture, trainer)
    else:
        model = (model_file if stands_alone else predicting_file)(study, history, number, trainer)
    found = {"trial": number}
    match request.work:
        case "save":
            _save(model, Path(request.output))
        case "activations":
            _activations(model, request.layer, folder)
        case "predict":
            fold = history.trials[number].repeat or 0
            opened = None if request.split is None else trainer.open(request.split, fold=fold)
            found |= _predict(study, trainer, model, folder, opened)
    return found


class _Finalized(NamedTuple):
    trials: list[int]
    measured: Measured
    model: Path


def finalize(
    study: StudyFolder, history: History, trainer: StudyTrainer, models: Sequence[int] | Mixture
) -> _Finalized:
    """Measure models of a study on its test set and journal the results; nothing else opens the test set.

    Args:
        study: The study.
        history: Its history.
        trainer: Trains what was not kept.
        models: Numbers of trials, at least one; or one model that was made of trials.

    Returns:
        The numbers, and what the first model's file measured.

    Raises:
        StudyError: A trial cannot be trained again.
        InputError: The sweep's data has no test set.
    """
    with study.journal("login") as journal:
        if isinstance(models, Mixture):
            file = mixture_file(study, history, models, trainer)
            spec = study.sweep.resolve(history.trials[models.trial].params or {})
            found = trainer.measure_on_test(spec, file, networks=max(len(models.trained), 1))
            journal.append(
                Finalize(
                    time.time(),
                    models.trial,
                    found.metrics,
                    model=models.name,
                    networks=list(models.networks),
                    temperature=models.temperature,
                    epochs=models.epochs,
                )
            )
            return _Finalized([models.trial], found, file)
        done = []
        for number in models:
            spec = study.sweep.resolve(history.trials[number].params or {})
            file = predicting_file(study, history, number, trainer)
            found = trainer.measure_on_test(spec, file, networks=len(members_of(study, history, number)))
            journal.append(Finalize(time=time.time(), trial=number, metrics=found.metrics))
            done.append((found, file))
    return _Finalized(list(models), *done[0])


def _predict(
    study: StudyFolder, trainer: StudyTrainer, model: Path, folder: Path, opened: Opened | None
) -> dict[str, Any]:
    """Predict the images of a split, or else those in the request's folder; return a part of the answer."""
    from cnn_sweep.training.evaluation.evaluate import predict  # noqa: PLC0415 - starts TensorFlow, after its configuration

    images: Any = np.load(folder / "images.npy") if opened is None else opened.images.x
    if opened is not None:
        if len(opened.images.y) and opened.images.y.min() >= 0:
            np.save(folder / "labels.npy", opened.images.y)
        if opened.rows is not None:
            np.save(folder / "rows.npy", opened.rows)
    probabilities = per_class(predict(model, images))
    classes = len(study.info.class_names)
    if probabilities.shape[1] != classes:
        raise StudyError(
            f"{model}: the model outputs {probabilities.shape[1]} numbers per image, but the data has {classes} classes"
        )
    np.save(folder / "probabilities.npy", probabilities)
    return {
        "class_names": study.info.class_names,
        "prepared": str(trainer.prepared),
        "split": opened.split if opened else "",
    }


def _activations(model: Path, layer: str, folder: Path) -> None:
    from cnn_sweep.training.evaluation.activations import activations  # noqa: PLC0415 - as in `_predict`
    from cnn_sweep.training.evaluation.evaluate import load_model  # noqa: PLC0415 - as in `_predict`

    np.save(folder / "activations.npy", activations(load_model(model), layer, np.load(folder / "images.npy")))


def _save(model: Path, output: Path) -> None:
    """Write a copy of a model, in the format of the file's suffix."""
    aside = output.with_name(f".{output.stem}.{os.getpid()}{output.suffix}")
    try:
        if output.suffix == ".keras":
            shutil.copyfile(model, aside)
        else:
            from cnn_sweep.training.evaluation.evaluate import load_model  # noqa: PLC0415 - as in `_predict`
            from cnn_sweep.training.network.export import save_h5  # noqa: PLC0415 - as in `_predict`

            save_h5(load_model(model), aside)
        aside.replace(output)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _start_trainer(study: StudyFolder, history: History, trial: int) -> StudyTrainer:
    """Return a trainer with a trial's number of threads, because another number would change its results.

    It is the study's number, unless the study has trials of an earlier version.
    """
    threads = threads_of_trial(history.trials[trial], history) or threads_of(study.paths, study.sweep)
    configure(threads, whole_keras=uses_user_code(study.sweep))
    from cnn_sweep.execution.worker.study_trainer import StudyTrainer  # noqa: PLC0415 - starts TensorFlow, after its configuration

    return StudyTrainer(study)


def main() -> int:
    """Answer the request in the folder that the first argument names; return the exit code."""
    streams.for_people()
    try:
        answer(Path(sys.argv[1]))
    except KeyboardInterrupt:
        return Interrupted.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
