"""Studies of any size whose journals are written in one go, as workers would have written them."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace
from types import SimpleNamespace

from helpers.sweeps import sweep_of_digits

from cnn_sweep.journal.events import End, Epoch, Extend, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store.merge import merge

SWEEP = sweep_of_digits("""\
space:
  filters: [4, 8, 16]
  optimizer: [sgd, adam]
  learning_rate: {{low: 0.0001, high: 0.1, log: true, points: 3}}
  momentum: {{low: 0.0, high: 0.9, points: 2, when: {{optimizer: sgd}}}}
training:
  epochs: 3
  optimizer: {{name: $optimizer, learning_rate: $learning_rate, momentum: $momentum}}
""")


@dataclass
class Written:
    """Writes studies into a results folder."""

    results: object

    def study(self, name="digits", trials=30, *, epochs=3, states=("complete",), metric="val_accuracy", **changes):
        """Write a study of trials whose states take turns.

        ``changes``: direction, sweep, params (of random numbers), configurations (how many, with repeats of them),
        attempts (of each trial; all but the last were left without a word), second (revision), more (events), folds
        (repeats of a configuration are its folds).
        """
        direction = changes.get("direction", "maximize")
        paths = StudyPaths(self.results, name)
        paths.create()
        text = changes.get("sweep") or SWEEP
        paths.sweep.write_text(text.format(study=name, metric=metric, direction=direction), encoding="utf-8")
        if "second" in changes:
            second = changes["second"].format(study=name, metric=metric, direction=direction)
            (paths.folder / "sweep.2.yaml").write_text(second, encoding="utf-8")
        paths.provenance.write_text(json.dumps(provenance(name)), encoding="utf-8")
        identity = ProcessIdentity("node7", "boot", "pid:[1]", 7, 8)
        lines = [Worker(1_000.0, identity, {"keras": "3.15.1", "python": "3.11"}, 2)]
        lines.append(Extend(1_000.0, 1, trials, trials, 2, 1))
        draw = random.Random(trials)
        configurations = changes.get("configurations") or trials
        found = [(changes.get("params") or some_params)(draw) for _ in range(configurations)]
        for trial in range(trials):
            repeat, place = divmod(trial, configurations)
            params = found[place]
            start = Start(1_000.0 + 5 * trial, trial, 0, f"c{place}", repeat, trial, params, 0, weights_of(params))
            start = replace(start, fold=repeat % changes["folds"] if "folds" in changes else None)
            starts = [replace(start, attempt=attempt) for attempt in range(changes.get("attempts", 1))]
            lines += self._trial(draw, starts, epochs, states[trial % len(states)])
        lines += changes.get("more", ())
        with paths.journal("w").open("ab") as file:
            file.write(b"".join(map(encode, lines)))
        assert merge(self.results, wait_s=20).skipped is None
        return self

    def _trial(self, draw, starts, epochs, state):
        if state == "waiting":
            return
        yield from starts
        at, trial, attempt, params, weights = (
            getattr(starts[-1], name) for name in ("time", "trial", "attempt", "params", "parameters")
        )
        reached = 0 if state == "failed" else epochs
        rate = float(params.get("learning_rate") or 0.01)
        top = 0.95 - 0.05 * abs(math.log10(rate) + 2) - 0.1 * draw.random()
        for epoch in range(1, reached + 1):
            value = top * (1 - 0.5**epoch)
            metrics = {"loss": 1 - value, "accuracy": value, "val_loss": 1.1 - value, "val_accuracy": value - 0.01}
            yield Epoch(at + epoch, trial, attempt, epoch, 0.5, metrics)
        if state != "running":
            cause, message = ("exception", "ValueError: <b>no</b>") if state == "failed" else (None, None)
            yield End(at + 4, trial, attempt, state, cause, message, reached, 0.5 * reached, weights)


def weights_of(params):
    """Return how many weights a network of these hyperparameters has."""
    return 100 * int(params.get("filters") or 4)


def some_params(draw):
    """Draw hyperparameters as a sampler would."""
    params = {"filters": draw.choice([4, 8, 16]), "optimizer": draw.choice(["sgd", "adam"])}
    params["learning_rate"] = 10 ** draw.uniform(-4, -1)
    return params | ({"momentum": draw.choice([0.0, 0.9])} if params["optimizer"] == "sgd" else {})


def provenance(name):
    """Say where a study comes from."""
    return {
        "study": name,
        "digest": "d" * 64,
        "source": "sweep.yaml",
        "folder": "/home/somebody",
        "created": "2026-01-02T03:04:05Z",
        "command": "cnn-sweep run sweep.yaml",
        "host": "login1",
        "versions": {"python": "3.11", "keras": "3.15.1"},
        "seeds": [0],
        "git": {"sha": "abc", "diff": ""},
    }


def some_findings(*names, noise=None, certainty=""):
    """Return findings of an importance analysis as they are read, without Optuna: the first matters most."""
    shares = [2.0**-place for place in range(1, len(names) + 1)]
    importances = tuple(
        SimpleNamespace(parameter=name, fanova=share, fanova_sd=0.01, ped_anova=share, trials=9, conditional=False)
        for name, share in zip(names, shares, strict=True)
    )
    effects = tuple(
        SimpleNamespace(parameter=name, value=value, trials=3, mean=mean, sd=0.1, best=mean)
        for name in names
        for value, mean in (("worse", 0.1), ("0.1 to 0.2", 0.9))
    )
    return SimpleNamespace(
        importances=importances, effects=effects, interactions=(), results=9, noise=noise, certainty=certainty
    )
