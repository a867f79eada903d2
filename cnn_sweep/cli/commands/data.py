"""``data prepare`` and ``data show``: prepare or draw the images of a sweep."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from cnn_sweep.cli.ui.help import register
from cnn_sweep.cli.ui.image_preparation import prepare_images, prepare_with_progress
from cnn_sweep.cli.ui.options import RESULTS, AsJson, Results, SweepFile
from cnn_sweep.cli.ui.tables import print_table
from cnn_sweep.errors import InputError
from cnn_sweep.execution.study.study_folder import plan_sweeps
from cnn_sweep.messages import plural
from cnn_sweep.report.figures.contact_sheets import save_picture, sheet_of_rows
from cnn_sweep.report.leaderboards.leaderboard import Table
from cnn_sweep.sweep.space.grid import sample_configurations
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import MIRRORED, SPLITS, items, load, read_meta
from cnn_sweep.training.data.prepare import read_report

if TYPE_CHECKING:
    from cnn_sweep.training.data.dataset import Dataset

app = typer.Typer(help="Prepare or draw the images of a sweep.", no_args_is_help=True)

_PROBLEMS_SHOWN = 20  # bad images on the terminal; the report lists all of them
_SEED = 0


def prepare(sweep: SweepFile, as_json: AsJson = False, results: Results = RESULTS) -> None:
    """Decode, check and store the images of a sweep, and print a summary.

    `run` and `submit` do this by themselves; this command shows the result before anything trains. If it is
    interrupted, the next call continues.

    Examples:
      cnn-sweep data prepare sweeps/digits.yaml
    """
    loaded = Sweep.load(sweep)
    began = time.monotonic()
    path, _ = prepare_with_progress(loaded, results)
    report = read_report(path)
    if as_json:
        print(json.dumps({"folder": str(path), **report}, indent=2))
        return
    _print_summary(report, path)
    print(f"{time.monotonic() - began:.1f} s, and {report['seconds']:.1f} s when it was prepared", file=sys.stderr)


def show(
    sweep: SweepFile,
    augmented: Annotated[
        bool, typer.Option("--augmented", help="Draw one image of each class, as augmentation changes it.")
    ] = False,
    samples: Annotated[int, typer.Option(min=1, max=100, help="Images per row.")] = 8,
    trial: Annotated[int, typer.Option(min=0, help="With --augmented: use this trial's configuration.")] = 0,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="PNG file to write.", show_default="STUDY-data.png")
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Draw a contact sheet of training images of each class.

    Examples:
      cnn-sweep data show sweeps/digits.yaml
      cnn-sweep data show sweeps/digits.yaml --augmented --trial 3
    """
    loaded = Sweep.load(sweep)
    # Checked before images are decoded, so that a mistake is reported at once.
    augmentation = _augmentation(loaded, trial) if augmented else None
    dataset = load(prepare_images(loaded, results), splits=("train",))
    rows = _samples(dataset, samples) if augmentation is None else _variants(dataset, augmentation, samples)
    path = output or Path(f"{loaded.study}-{'augmented' if augmentation else 'data'}.png")
    save_picture(sheet_of_rows(rows), path)
    print(path)


def _print_summary(report: dict[str, Any], path: Path) -> None:
    height, width, channels = read_meta(path)["image_shape"]
    splits = [name for name in SPLITS if name in report["images"]]
    names = dict.fromkeys(name for split in splits for name in report["images"][split])
    rows = [{"class": name} | {split: report["images"][split].get(name, 0) for split in splits} for name in names]
    totals = {split: sum(report["images"][split].values()) for split in splits}
    print_table(Table(("class", *splits), (*rows, {"class": "all", **totals})))
    mirrored = sum(item.name.endswith(MIRRORED) for item in items(path, "train"))
    extra = f", {mirrored} of them mirrored" if mirrored else ""
    print(f"{plural(sum(totals.values()), 'image')} of {height} x {width} x {channels}{extra}, in {path}")
    if folds := report.get("folds"):
        print_table(_folds_table(folds), title="folds")
    _print_problems(report, path)


def _folds_table(folds: list[dict[str, Any]]) -> Table:
    """Return a row for each fold of the first partition: its images, its groups, and the images of each class."""
    rows = [{"fold": number, **fold, **fold["classes"]} for number, fold in enumerate(folds)]
    return Table(tuple(name for name in rows[0] if name != "classes"), tuple(rows))


def _print_problems(report: dict[str, Any], path: Path) -> None:
    for note in report["notes"]:
        print(f"note: {_printable(note)}")
    kinds = Counter(image["reason"] for image in report["converted"])
    for reason, count in kinds.most_common(_PROBLEMS_SHOWN):
        print(f"converted: {plural(count, 'image', 'images')}: {reason}")
    if len(kinds) > _PROBLEMS_SHOWN:
        print(f"converted: {len(kinds) - _PROBLEMS_SHOWN} more kinds; all are in {path / 'report.json'}")
    bad = report["bad"]
    if bad:
        print(f"{plural(len(bad), 'image', 'images')} cannot be used and {'is' if len(bad) == 1 else 'are'} left out:")
    reasons = Counter(image["reason"] for image in bad)
    if len(bad) > _PROBLEMS_SHOWN:
        for reason, count in reasons.most_common(_PROBLEMS_SHOWN):
            print(f"  {plural(count, 'image', 'images')}: {reason}")
        print("the first of them:")
    for image in bad[:_PROBLEMS_SHOWN]:
        print(f"  {_printable(image['file'])}: {image['reason']}")
    if len(report["bad"]) > _PROBLEMS_SHOWN:
        print(f"  and {len(report['bad']) - _PROBLEMS_SHOWN} more; all are in {path / 'report.json'}")


def _printable(name: str) -> str:
    """Return a text in which undecodable bytes of file names are escaped."""
    return name.encode(errors="backslashreplace").decode()


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
    """Return an image of each class, followed by augmented variants of it."""
    from cnn_sweep.training.session import configure

    configure(threads=1)
    from cnn_sweep.training.engines.augment import variants

    first = {name: images[:1] for name, images in _samples(dataset, 1).items() if len(images)}
    stacked = np.concatenate(list(first.values()))
    changed = variants(stacked, augmentation, seed=_SEED, count=max(1, count - 1))
    return {name.rpartition(" (")[0]: np.concatenate([stacked[k : k + 1], changed[k]]) for k, name in enumerate(first)}


def _augmentation(sweep: Sweep, trial: int) -> Any:
    plan, _ = plan_sweeps(sweep)
    if trial >= len(plan.trials):
        raise InputError(f"no trial {trial}; the sweep has {len(plan.trials)}, numbered from 0")
    params = plan.trials[trial].params
    if params is None:  # an adaptive search proposes them later
        params = next(iter(sample_configurations(sweep.space, sweep.constraints, grid=False)))
    training = sweep.resolve(params).training
    if training is None or training.augmentation is None:
        raise InputError(
            f"{sweep.source}: no augmentation with {params or 'these settings'}; "
            "write it as training: {augmentation: {horizontal_flip: true}}"
        )
    return training.augmentation


for command in (prepare, show):
    register(app, command)
