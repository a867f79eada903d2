"""One contender's search, as a process of its own: ``target_contenders.py NAME FOLDER SEED``.

It prints a line of JSON when a network that reaches the target is in its hands, as a file that its tool or, where the
tool has none, its user writes; ``time_to_target.py`` then ends it. Peers find their data in memory.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES = 2
FACTOR = 3  # of halving, as in the project's own benchmarks
ENDLESS = 100_000  # trials; the target or the limit comes first
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@dataclass(frozen=True)
class Task:
    """What a contender is given: the folder of ``TargetCase.write``, and a seed."""

    folder: Path
    seed: int

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Space, target, epochs, shape and classes."""
        return json.loads((self.folder / "case.json").read_text(encoding="utf-8"))

    @property
    def epochs(self) -> int:
        """Epochs of a complete trial."""
        return self.facts["epochs"]

    @cached_property
    def data(self) -> tuple:
        """x, y, validation x, validation y."""
        return tuple(np.load(self.folder / f"{kind}_{split}.npy") for split in ("train", "validation") for kind in "xy")

    def params(self, choose: Callable[[str, list], Any], between: Callable[[str, float, float], Any]) -> dict:
        """Return hyperparameters, each as a tool draws a choice, or a number on a logarithmic scale."""
        return {
            name: choose(name, domain) if isinstance(domain, list) else between(name, domain["low"], domain["high"])
            for name, domain in self.facts["space"].items()
        }

    def model(self, params: dict) -> Any:
        """Build and compile the network as a user of Keras would."""
        import keras

        layers, convolution = keras.layers, {"padding": "same", "activation": "relu"}
        stack = [keras.Input(self.facts["shape"])]
        for _ in range(params["blocks"]):
            stack.append(layers.Conv2D(params["filters"], params.get("kernel_size", 3), **convolution))
            stack.append(layers.MaxPooling2D(2))
        stack += [layers.Dropout(params["dropout"]), layers.Flatten(), layers.Dense(32, activation="relu")]
        model = keras.Sequential([*stack, layers.Dense(self.facts["classes"], activation="softmax")])
        kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
        optimizer = kinds[params["optimizer"]](params["learning_rate"])
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, model: Any, params: dict, callback: Any) -> float:
        """Train, and return the best validation accuracy."""
        x, y, val_x, val_y = self.data
        fit = {"epochs": self.epochs, "batch_size": params["batch_size"], "verbose": 0, "callbacks": [callback]}
        return max(model.fit(x, y, validation_data=(val_x, val_y), **fit).history["val_accuracy"])

    def reached(self, value: float) -> bool:
        """Tell whether a value is as good as the target."""
        return value >= self.facts["target"] - 1e-6  # accuracies are 32-bit floats

    def announce(self, value: float) -> None:
        """Say that the network is there; what runs on is killed."""
        print(json.dumps({"value": value}), flush=True)


def keras_tuner(tuner: Callable[[Any, Task], Any], task: Task) -> None:
    """One of KerasTuner's searches, in one process with all cores; it saves a trial's weights when they improve."""
    import keras
    import keras_tuner as kt

    class Hypermodel(kt.HyperModel):
        def build(self, hp):
            params = task.params(hp.Choice, lambda name, low, high: hp.Float(name, low, high, sampling="log"))
            return task.model(params)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)

    class Watch(keras.callbacks.Callback):
        """Called before KerasTuner saves an epoch's weights, so it looks at the epoch before."""

        value = 0.0

        def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002
            if task.reached(self.value):
                task.announce(self.value)

        def on_epoch_end(self, epoch, logs=None):
            self.value = logs["val_accuracy"]
            if epoch == self.params["epochs"] - 1:
                self.on_epoch_begin(epoch)

    x, y, val_x, val_y = task.data
    search = tuner(Hypermodel(), task)
    search.search(x, y, validation_data=(val_x, val_y), epochs=task.epochs, verbose=0, callbacks=[Watch()])


def _tuner(name: str, **more: Any) -> Callable[[Task], None]:
    def search(task: Task) -> None:
        def tuner(hypermodel: Any, task: Task) -> Any:
            import keras_tuner as kt

            place = {"directory": task.folder / "kt", "overwrite": True, "seed": task.seed}
            amount = {"max_epochs": task.epochs, "factor": FACTOR, "hyperband_iterations": 100}
            amount = amount if name == "Hyperband" else {"max_trials": ENDLESS}
            return getattr(kt, name)(hypermodel, "val_accuracy", **amount, **place, **more)

        keras_tuner(tuner, task)

    return search


def _optuna(pruner: str, **settings: Any) -> Callable[[Task], None]:
    def search(task: Task) -> None:
        """Optuna's TPE with a pruner: two processes of one thread each share a study in a journal file."""
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=optuna_worker, args=(task, pruner, settings, k)) for k in range(PROCESSES)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return search


def optuna_worker(task: Task, pruner: str, settings: dict, number: int) -> None:
    """Work on the study."""
    import keras
    import optuna
    import tensorflow as tf
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    class Report(keras.callbacks.Callback):
        def __init__(self, trial):
            super().__init__()
            self._trial = trial

        def on_epoch_end(self, epoch, logs=None):
            self._trial.report(logs["val_accuracy"], epoch + 1)
            if task.reached(logs["val_accuracy"]):
                self.model.save(task.folder / f"best-{number}.keras")
                task.announce(logs["val_accuracy"])
            if self._trial.should_prune():
                raise optuna.TrialPruned

    def objective(trial):
        keras.backend.clear_session()
        params = task.params(trial.suggest_categorical, lambda *where: trial.suggest_float(*where, log=True))
        return task.fit(task.model(params), params, Report(trial))

    study = optuna.create_study(
        study_name="target",
        storage=JournalStorage(JournalFileBackend(str(task.folder / "optuna.log"))),
        sampler=optuna.samplers.TPESampler(seed=PROCESSES * task.seed + number),
        pruner=getattr(optuna.pruners, pruner)(**settings),
        direction="maximize",
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=ENDLESS)


def ray_asha(task: Task) -> None:
    """Ray Tune's ASHA, two actors of one thread each."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    here, place = str(Path(__file__).parent), (task.folder, task.seed)

    def train(config):
        sys.path.insert(0, here)  # actors start elsewhere, and must find this module
        from target_contenders import Task

        task = Task(*place)
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)

        class Report(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if task.reached(logs["val_accuracy"]):
                    self.model.save(task.folder / f"best-{os.getpid()}.keras")
                tune.report({"val_accuracy": logs["val_accuracy"], "training_iteration": epoch + 1})

        task.fit(task.model(config), config, Report())

    class Watch(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):  # noqa: ARG002
            sys.path.insert(0, here)
            from target_contenders import Task  # by its name: what Ray pickles must hold no class of this script

            task = Task(*place)
            if task.reached(result["val_accuracy"]):
                task.announce(result["val_accuracy"])

    ray.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    np.random.seed(task.seed)  # noqa: NPY002 - what Ray draws from
    space = task.params(lambda _, values: tune.choice(values), lambda _, low, high: tune.loguniform(low, high))
    scheduler = ASHAScheduler(max_t=task.epochs, grace_period=1, reduction_factor=FACTOR)
    tune.Tuner(
        train,
        param_space=space,
        tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", scheduler=scheduler, num_samples=-1),
        run_config=tune.RunConfig(storage_path=str(task.folder / "ray"), verbose=0, callbacks=[Watch()]),
    ).fit()


def ours(task: Task) -> None:
    """`cnn-sweep run`, until a complete trial has reached the target; its model is on disk then."""
    program = str(Path(sys.executable).with_name("cnn-sweep"))
    results = task.folder / "results"
    run = subprocess.Popen(
        [program, "run", str(task.folder / "sweep.yaml"), "--results", str(results)], stdout=subprocess.DEVNULL
    )
    from cnn_sweep.journal.history import History
    from cnn_sweep.journal.paths import StudyPaths
    from cnn_sweep.sweep.direction import Direction

    history = History(StudyPaths(results, "target"), metric="val_accuracy")
    while run.poll() is None:
        if results.exists() and history.refresh():
            complete = (trial for trial in history.trials.values() if trial.state == "complete")
            best = max((found[1] for trial in complete if (found := trial.best(Direction.MAXIMIZE))), default=0.0)
            if task.reached(best):
                task.announce(best)
        time.sleep(0.1)
    sys.exit(run.returncode)


CONTENDERS: dict[str, Callable[[Task], None]] = {
    "kt_random": _tuner("RandomSearch"),
    "kt_hyperband": _tuner("Hyperband"),
    "kt_bayesian": _tuner("BayesianOptimization"),
    "optuna_median": _optuna("MedianPruner"),
    "optuna_halving": _optuna("SuccessiveHalvingPruner", reduction_factor=FACTOR),
    "optuna_hyperband": _optuna("HyperbandPruner"),
    "ray_asha": ray_asha,
}


def main() -> None:
    name, folder, seed = sys.argv[1:]
    CONTENDERS.get(name, ours)(Task(Path(folder), int(seed)))


if __name__ == "__main__":
    main()
