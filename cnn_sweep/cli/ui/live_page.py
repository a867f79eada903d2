"""``report --watch``: writes a live page and renews it until the study is finished or the user interrupts."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from cnn_sweep.cli.ui.interrupt import interruptible
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.terminal import ssh_tunnel, warn
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.report.live import moment
from cnn_sweep.report.report_data import gather
from cnn_sweep.slurm.commands import RareSlurmCli

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cnn_sweep.report.document.live_page import LivePage, State
    from cnn_sweep.slurm.commands import SlurmCli

# Reasons why a live page lacks what takes long.
_NO_IMPORTANCE = "`cnn-sweep report` without --watch estimates it."
_NO_MODEL = "`cnn-sweep report` without --watch asks it."


def keep_live(
    results: Path, study: str, folder: Path, every_s: float, trials: Sequence[int], socket: Path | None = None
) -> None:
    """Write the live page of a study, and renew it until all trials are finished or the user interrupts.

    A renewal that fails is warned of, and tried again after the same time.

    Args:
        results: Root of all studies.
        study: The study's name.
        folder: Folder of the page.
        every_s: Seconds between renewals.
        trials: Show these trials' learning curves at first; by default those of the best trials.
        socket: Also serve the page through this socket, until the user interrupts.

    Raises:
        InputError: The folder has the page of another study, or the socket cannot be used.
        StudyError: There is no such study or trial.
        EnvironmentFault: The page cannot be written.
    """
    from cnn_sweep.report.document.live_page import LivePage

    slurm = RareSlurmCli(every_s=max(every_s, RareSlurmCli.every_s))
    with interruptible() as interrupt, nullcontext() if socket is None else _served(folder, socket):
        state = look(results, study, trials, slurm)
        page = LivePage(folder, study, every_s)
        finished = page.renew(state)
        print(page.file, flush=True)
        while not finished and not interrupt.wait(every_s):
            finished = _renewed(page, results, study, trials, slurm)
        if finished and socket is not None:
            print(f"{study} is finished; its page is served until Ctrl-C", file=sys.stderr)
            while not interrupt.wait(every_s):
                pass
    again = f"`cnn-sweep report {study} --watch {every_s:g}` goes on"
    end = "is finished" if finished else f"goes on; its live page stays, and is not renewed any more ({again})"
    print(f"{study} {end}", file=sys.stderr)


@contextmanager
def _served(folder: Path, socket: Path) -> Iterator[None]:
    """Serve the page through a socket, and print the tunnel to it from another machine."""
    from cnn_sweep.report.document.page_server import served

    with served(folder, socket):
        tunnel = ssh_tunnel(8000, str(socket.absolute()))
        print(f"from your own machine: {tunnel}   (then open http://localhost:8000)", file=sys.stderr, flush=True)
        yield


def _renewed(page: LivePage, results: Path, study: str, trials: Sequence[int], slurm: SlurmCli) -> bool:
    """Renew the page if that is possible; return whether the study is finished."""
    try:
        return page.renew(look(results, study, trials, slurm))
    except EnvironmentFault as fault:
        warn(f"the live page is not renewed this time: {fault}")
        return False


def look(results: Path, name: str, trials: Sequence[int], slurm: SlurmCli) -> State:
    """Read the state of a study, after merging the journals."""
    from cnn_sweep.report.document.live_page import State

    study = open_merged(results, name)
    with study.store:
        for trial in trials:
            study.trial(trial)  # raises for an unknown number, with a list of the known ones
        status = study.status(slurm=slurm)
        data = gather(study.store, name, study.leaderboard_table(), trials=trials)
        data = replace(data, no_findings=_NO_IMPORTANCE, no_model=_NO_MODEL)
        found = moment(study.store, name, time.time(), has_budget=bool(status["limits"]))
    return State(data, status, found)
