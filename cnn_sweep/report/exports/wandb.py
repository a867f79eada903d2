"""A study as offline runs of Weights & Biases, which ``wandb sync`` uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnn_sweep.report.exports import library
from cnn_sweep.report.exports.trials import runs
from cnn_sweep.report.leaderboards.leaderboard import plain

_FACTS = ("state", "cause", "value", "best_epoch", "parameters", "seconds", "seed", "repeat")


def to_wandb(results: Path, study: str, destination: str) -> list[Path]:
    """Write an offline run a trial; nothing is sent anywhere.

    Returns:
        The folder ``wandb`` below the destination.
    """
    wandb: Any = library("wandb", "wandb")
    folder = Path(destination)
    folder.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(mode="offline", console="off", silent=True, x_disable_stats=True, disable_git=True)
    for run in runs(results, study):
        config = {name: plain(value) for name, value in run.params.items()}
        name = f"{study}-{run.trial}"
        kept = wandb.init(
            dir=folder, project=study, name=name, config=config, settings=settings, reinit="finish_previous"
        )
        for epoch, _, metrics in run.epochs:
            kept.log(metrics, step=epoch)
        kept.summary.update({name: run.facts[name] for name in _FACTS if run.facts.get(name) is not None})
        kept.finish(exit_code=int(run.facts["state"] == "failed"))
    return [folder / "wandb"]
