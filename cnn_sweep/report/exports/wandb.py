"""Exports a study to Weights & Biases: an offline run for each trial, which ``wandb sync`` uploads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.exports import library, written_aside
from cnn_sweep.report.exports.trials import Run, runs
from cnn_sweep.report.leaderboards.leaderboard import plain

if TYPE_CHECKING:
    from cnn_sweep.store.reader import StoreReader

_FACTS = ("state", "cause", "value", "best_epoch", "parameters", "seconds", "seed", "repeat")


def to_wandb(store: StoreReader, study: str, destination: str) -> list[Path]:
    """Write an offline run for each trial, without network access; replace the runs of an earlier export of the study.

    Returns:
        The folder ``wandb`` below the destination.

    Raises:
        EnvironmentFault: W&B is not installed or reports an error.
    """
    wandb: Any = library("wandb", "wandb")
    folder = Path(destination) / "wandb"
    # Neither git nor metadata: `wandb sync` would upload the user, the host, paths and the command line.
    quiet = {"silent": True, "x_disable_stats": True, "disable_git": True, "x_disable_meta": True}
    settings = wandb.Settings(mode="offline", console="off", **quiet)
    with written_aside(folder.parent) as aside:
        try:
            for run in runs(store, study):
                _write(wandb, study, run, dir=aside, settings=settings)
        except wandb.errors.Error as error:
            raise EnvironmentFault(f"Weights & Biases cannot write {folder}: {error}") from error
        new = list((aside / "wandb").glob("offline-run-*"))
        ids = {_id_of(path) for path in new}
        folder.mkdir(parents=True, exist_ok=True)
        for old in [path for path in folder.glob("offline-run-*") if _id_of(path) in ids]:
            shutil.rmtree(old)
        for path in new:
            path.rename(folder / path.name)
    return [folder]


def _id_of(folder: Path) -> str | None:
    """Return a run's id from the name of its folder, ``offline-run-TIME-ID``; None for any other name."""
    parts = folder.name.split("-", 3)
    return parts[3] if len(parts) == 4 else None


def _write(wandb: Any, study: str, run: Run, **how: Any) -> None:
    config = {name: plain(value) for name, value in run.params.items()}
    name = f"{study}-{run.trial}"  # also the id, so that W&B takes a trial exported again for the same run
    kept = wandb.init(project=study, id=name, name=name, config=config, reinit="finish_previous", **how)
    for epoch, _, metrics in run.epochs:
        kept.log(metrics, step=epoch)
    facts = {name: run.facts[name] for name in _FACTS if run.facts.get(name) is not None}
    kept.summary.update(facts | run.tests)
    kept.finish(exit_code=int(run.facts["state"] == "failed"))
