"""``data show``: contact sheets of a sweep's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.cli.preparing import prepare_shown
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.report.figures.contact_sheets import save_picture, sheet_of_rows
from cnn_sweep.sweep.space.grid import samples as sample_configurations
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import load

if TYPE_CHECKING:
    from cnn_sweep.training.data.dataset import Dataset

_SEED = 0


def show(file: Path, results: Path, trial: int | None, *, samples: int, output: Path | None) -> None:
    """Write a contact sheet of the training images, or of variants of them as a trial's augmentation makes them."""
    sweep = Sweep.load(file)
    # Before images are decoded, so that a mistake is told at once.
    augmentation = None if trial is None else _augmentation(sweep, trial)
    dataset = load(prepare_shown(sweep, results), splits=("train",))
    rows = _samples(dataset, samples) if augmentation is None else _variants(dataset, augmentation, samples)
    path = output or Path(f"{sweep.study}-{'augmented' if augmentation else 'data'}.png")
    save_picture(sheet_of_rows(rows), path)
    print(path)


def _samples(dataset: Dataset, count: int) -> dict[str, Any]:
    """Draw training images of each class."""
    random = np.random.default_rng(_SEED)
    found = {}
    for label, name in enumerate(dataset.info.class_names):
        members = np.flatnonzero(np.asarray(dataset.train.y) == label)
        chosen = np.sort(random.permutation(members)[:count])
        found[f"{name} ({len(members)})"] = np.asarray(dataset.train.x[chosen])
    return found


def _variants(dataset: Dataset, augmentation: Any, count: int) -> dict[str, Any]:
    """Take an image of each class, and what augmentation makes of it beside it."""
    from cnn_sweep.training.session import configure

    configure(threads=1)
    from cnn_sweep.training.engine.augment import variants

    first = {name: images[:1] for name, images in _samples(dataset, 1).items() if len(images)}
    stacked = np.concatenate(list(first.values()))
    changed = variants(stacked, augmentation, seed=_SEED, count=max(1, count - 1))
    return {name.rpartition(" (")[0]: np.concatenate([stacked[k : k + 1], changed[k]]) for k, name in enumerate(first)}


def _augmentation(sweep: Sweep, trial: int) -> Any:
    plan, _ = plan_sweeps(sweep)
    if trial >= len(plan.trials):
        raise InputError(f"no trial {trial}; the sweep has {len(plan.trials)}, numbered from 0")
    params = plan.trials[trial].params
    if params is None:  # proposed once the search runs
        params = next(iter(sample_configurations(sweep.space, sweep.constraints, grid=False)))
    training = sweep.resolve(params).training
    if training is None or training.augmentation is None:
        raise InputError(
            f"{sweep.source}: no augmentation with {params or 'these settings'}; "
            "it is written as training: {augmentation: {horizontal_flip: true}}"
        )
    return training.augmentation
