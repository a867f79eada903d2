"""One contender's run of one sweep, as a process of its own: ``contenders.py NAME CASE FOLDER [--quick]``.

Each prints one line of JSON at its end: the best validation accuracy, and the number of trials. Every peer has its
data in memory once, no logging, and all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweep_cases import CASES, Case, keras_model

AT_A_TIME = 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def keras_tuner(name: str, case: Case, folder: Path) -> dict:
    """KerasTuner's GridSearch."""
    import keras_tuner as kt

    x, y, val_x, val_y = case.arrays(folder)

    def build(hp):
        return keras_model(name, {key: hp.Choice(key, list(values)) for key, values in case.grid.items()})

    count = len(case.configurations)
    tuner = kt.GridSearch(build, "val_accuracy", max_trials=count, directory=folder / "kt", overwrite=True)
    fit = {"epochs": case.epochs, "batch_size": case.batch_size, "verbose": 0}
    tuner.search(x, y, validation_data=(val_x, val_y), **fit)
    trials = tuner.oracle.get_best_trials(count)
    return {"best": trials[0].score, "trials": len(trials)}


def optuna_loop(name: str, case: Case, folder: Path) -> dict:
    """A loop over `model.fit`, its trials from Optuna's GridSampler, kept in SQLite."""
    data = case.arrays(folder)
    return _optuna(case, folder, lambda params: _fit(name, params, case, data))


def optuna_tuned(name: str, case: Case, folder: Path) -> dict:
    """The same by somebody who knows Keras well: a cached `tf.data` pipeline, an epoch as one execution."""
    import keras
    import tensorflow as tf

    x, y, val_x, val_y = case.arrays(folder)
    steps = -(-len(x) // case.batch_size)
    train = tf.data.Dataset.from_tensor_slices((x, y)).cache().shuffle(len(x)).batch(case.batch_size).prefetch(2)
    validation = tf.data.Dataset.from_tensor_slices((val_x, val_y)).batch(len(val_x)).cache()

    def objective(params: dict) -> float:
        keras.backend.clear_session()
        model = keras_model(name, params)
        loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
        model.compile(model.optimizer, loss, metrics=metrics, steps_per_execution=steps)
        done = model.fit(train, validation_data=validation, epochs=case.epochs, verbose=0)
        return max(done.history["val_accuracy"])

    return _optuna(case, folder, objective)


def _optuna(case: Case, folder: Path, objective) -> dict:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    grid = {key: list(values) for key, values in case.grid.items()}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        study = optuna.create_study(
            storage=f"sqlite:///{place}/optuna.db",
            sampler=optuna.samplers.GridSampler(grid, seed=0),
            direction="maximize",
        )
        study.optimize(
            lambda trial: objective({key: trial.suggest_categorical(key, values) for key, values in grid.items()})
        )
        return {"best": study.best_value, "trials": len(study.trials)}


def _fit(name: str, params: dict, case: Case, data: tuple) -> float:
    import keras

    keras.backend.clear_session()
    x, y, val_x, val_y = data
    model = keras_model(name, params)
    fit = {"epochs": case.epochs, "batch_size": case.batch_size, "verbose": 0}
    done = model.fit(x, y, validation_data=(val_x, val_y), **fit)
    return max(done.history["val_accuracy"])


def one_process_per_trial(name: str, case: Case, folder: Path) -> dict:
    """A process for each trial through submitit's LocalExecutor, two at a time."""
    import submitit

    with tempfile.TemporaryDirectory(dir=folder) as place:
        # Its processes must find these modules.
        os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        executor = submitit.LocalExecutor(folder=place)
        executor.update_parameters(timeout_min=60)
        waiting, running, values = case.configurations, [], []
        while waiting or running:
            while waiting and len(running) < AT_A_TIME:
                running.append(executor.submit(_one_trial, name, waiting.pop(0), case, folder))
            time.sleep(0.05)
            done = [job for job in running if job.done()]
            values += [job.result() for job in done]
            running = [job for job in running if job not in done]
    return {"best": max(values), "trials": len(values)}


def _one_trial(name: str, params: dict, case: Case, folder: Path) -> float:
    return _fit(name, params, case, case.arrays(folder))


def ray_tune(name: str, case: Case, folder: Path) -> dict:
    """Ray Tune with two actors that are used again."""
    import ray
    from ray import tune

    # Actors start elsewhere, and must find these modules.
    here = str(Path(__file__).parent)
    ray.init(num_cpus=AT_A_TIME, include_dashboard=False, log_to_driver=False, logging_level="ERROR")

    class Trial(tune.Trainable):
        def setup(self, config: dict) -> None:
            sys.path.insert(0, here)
            self._data, self._params = case.arrays(folder), config

        def step(self) -> dict:
            return {"val_accuracy": _fit(name, self._params, case, self._data), "done": True}

        def reset_config(self, new_config: dict) -> bool:
            self._params = new_config
            return True

    tuner = tune.Tuner(
        Trial,
        param_space={key: tune.grid_search(list(values)) for key, values in case.grid.items()},
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder / "ray"), verbose=0),
    )
    found = tuner.fit()
    return {"best": found.get_best_result().metrics["val_accuracy"], "trials": len(found)}


def ours(name: str, case: Case, folder: Path) -> dict:  # noqa: ARG001 - as the others
    """`cnn-sweep run`, from the command to the leaderboard."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        program = str(Path(sys.executable).with_name("cnn-sweep"))
        run = [program, "run", str(folder / "sweep.yaml"), "--results", place]
        done = subprocess.run(run, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return _from_journals(Path(place))


def _from_journals(results: Path) -> dict:
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.direction import Direction

    history = History(StudyPaths(results, "bench"), metric="val_accuracy")
    history.refresh()
    attempts = [attempt for trial in history.trials.values() for attempt in trial.attempts.values()]
    best = max(trial.best(Direction.MAXIMIZE)[1] for trial in history.trials.values())
    began, ended = min(a.start.time for a in attempts), max(a.end.time for a in attempts)
    return {"best": best, "trials": len(history.trials), "training": ended - began}


def limit(name: str, case: Case, folder: Path) -> dict:
    """The bare graphs: processes of one thread that share the trials out beforehand and record nothing."""
    with ThreadPoolExecutor() as pool:
        shares = list(pool.map(lambda k: _bare(name, case, folder, k), range(AT_A_TIME)))
    training = max(share["ended"] for share in shares) - min(share["began"] for share in shares)
    best, trials = max(share["best"] for share in shares), sum(share["trials"] for share in shares)
    return {"best": best, "trials": trials, "training": training}


def _bare(name: str, case: Case, folder: Path, number: int) -> dict:
    command = [sys.executable, __file__, f"bare{number}", name, str(folder)]
    if case != CASES[name]:
        command.append("--quick")
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def bare_share(number: int, case: Case, folder: Path) -> dict:
    """Train every configuration whose network falls to this process."""
    from cnn_sweep.training.session import configure

    configure(threads=1)
    from cnn_sweep.sweep.sweep import Sweep
    from cnn_sweep.training.data.dataset import load
    from cnn_sweep.training.data.prepare import prepare
    from cnn_sweep.training.graph_key import graph_key
    from cnn_sweep.training.trial.trainer import Trainer

    sweep = Sweep.load(folder / "sweep.yaml")
    dataset = load(prepare(sweep.data, folder, folder / "prepared"))
    trainer = Trainer(dataset, folder=folder)
    groups: dict = {}
    for params in case.configurations:
        spec = sweep.resolve(params)
        groups.setdefault(graph_key(spec), []).append(spec)
    mine = list(groups.values())[number::AT_A_TIME]
    began = time.time()
    values = [value for group in mine for value in _bare_trials(group, dataset, trainer)]
    return {"began": began, "ended": time.time(), "best": max(values, default=0.0), "trials": len(values)}


def _bare_trials(specs: list, dataset, trainer):
    """Train trials of one shape; nothing but their graphs runs."""
    import numpy as np

    labels = np.asarray(dataset.validation.y)
    for spec in specs:
        engine, best = trainer._engine(spec, 0), 0.0
        train = _bare_epochs(engine, spec, dataset)
        for epoch in range(spec.training.epochs):
            probabilities = engine.evaluate(train(epoch)).probabilities
            best = max(best, float((probabilities.argmax(axis=1) == labels).mean()))
        yield best


def _bare_epochs(engine, spec, dataset):
    """Return what trains the epoch of a number and returns its plan."""
    from cnn_sweep.training.engines.engine import Totals
    from cnn_sweep.training.trial.training_loop import Task, TrainingLoop

    plans = TrainingLoop(Task(spec, 0, ""), lambda _: engine, dataset=dataset, monitor=None, chunk_s=1e9)

    def train(epoch: int):
        plans._progress.epoch = epoch
        plan = plans._plan(epoch)
        engine.train(plan, Totals(0, 0.0, 0.0), len(plan.rates), lambda: False)
        return plan

    return train


def bare_engine(folder: Path, params: dict):
    """Return what trains an epoch of one configuration of a case that was written, on one thread, and its steps."""
    from cnn_sweep.training.session import configure

    configure(threads=1)
    from cnn_sweep.sweep.sweep import Sweep
    from cnn_sweep.training.data.dataset import load
    from cnn_sweep.training.data.prepare import prepare
    from cnn_sweep.training.trial.trainer import Trainer

    sweep = Sweep.load(folder / "sweep.yaml")
    dataset = load(prepare(sweep.data, folder, folder / "prepared"))
    spec = sweep.resolve(params)
    engine = Trainer(dataset, folder=folder)._engine(spec, 0)
    steps = -(-len(dataset.splits["train"].y) // spec.training.batch_size)
    train = _bare_epochs(engine, spec, dataset)
    return lambda: train(0), steps


CONTENDERS = {
    "ours": ours,
    "limit": limit,
    "keras_tuner": keras_tuner,
    "optuna": optuna_loop,
    "optuna_tuned": optuna_tuned,
    "process": one_process_per_trial,
    "ray": ray_tune,
}


def main() -> None:
    contender, name, folder, *quick = sys.argv[1:]
    case = CASES[name].short() if quick else CASES[name]
    if contender.startswith("bare"):
        found = bare_share(int(contender.removeprefix("bare")), case, Path(folder))
    else:
        found = CONTENDERS[contender](name, case, Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
