"""Commands as people type them, in folders of their own."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.typed import READING, typed_here
from typer.testing import CliRunner

from cnn_sweep.cli.main import app
from cnn_sweep.execution.models import client as models
from cnn_sweep.execution.models import server as model_process
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.worker.protocol import StopRequest, WorkerSettings
from cnn_sweep.execution.worker.worker import Worker

if TYPE_CHECKING:
    from click.testing import Result

    from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: tiny
data: {source: digits, validation: 0.2, test: 0.2}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3, activation: relu}
    - pool: $window
    - flatten
    - output: softmax
space:
  filters: [2, 4]
  window: [2, 7]
  optimizer: [sgd, adam]
  momentum: {low: 0.0, high: 0.9, points: 2, when: {optimizer: sgd}}
search: {method: grid}
training:
  epochs: 2
  batch_size: 64
  optimizer: {name: $optimizer, learning_rate: 0.01, momentum: $momentum}
"""


class Cli:
    """Types commands in a folder of its own; those that only read and write files run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.started: list[subprocess.Popen[bytes]] = []

    def command(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "cnn_sweep.cli.main", *map(str, words)]

    def __call__(self, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        here = words[0] in READING
        done = typed_here(words, self.folder, self.environment) if here else self._typed(words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def _typed(self, words: tuple[object, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Type a command and go on; it has a process group of its own, as in a terminal."""
        run = subprocess.Popen(
            self.command(*words),
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(run)
        return run

    def end(self) -> None:
        """End what a test that failed left running."""
        for run in self.started:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"CNN_SWEEP_RESULTS": str(self.results), "COLUMNS": "200"}

    def table(self, *words: object) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self(*words).stdout)))


IN_A_PROCESS = models._answer


class Here:
    """Types commands, trains and works with models in this process, so that TensorFlow starts once."""

    def __init__(self, results: Path) -> None:
        self.results = results

    def train(self, sweep: Sweep) -> None:
        """Run all trials of a sweep."""
        settings = WorkerSettings(self.results, sweep.study, threads=1, since=time.time())
        Worker(StudyFolder.open_or_create(sweep, self.results), settings, StopRequest()).run()

    def result(self, *words: object) -> Result:
        """Type a command; what it raises is raised."""
        done = CliRunner().invoke(app, [*map(str, words), "--results", str(self.results)])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    def __call__(self, *words: object) -> str:
        """Type a command that succeeds; return what it prints."""
        done = self.result(*words)
        assert done.exit_code == 0, done.stderr
        return done.stdout

    def table(self, *words: object) -> list[dict[str, str]]:
        """Type a command; return the rows of its table."""
        return list(csv.DictReader(io.StringIO(self(*words, "--format", "csv"))))


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Commands and models in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "_answer", model_process.answer)
        patch.setenv("COLUMNS", "200")
        yield Here(tmp_path_factory.mktemp("here") / "results")


@pytest.fixture
def elsewhere(here, monkeypatch):
    """Let a process of its own work with models, as outside of tests."""
    monkeypatch.setattr(models, "_answer", IN_A_PROCESS)


@pytest.fixture(scope="session")
def sweep_text():
    """A sweep file of twelve configurations, six of which cannot be built."""
    return SWEEP


@pytest.fixture
def cli(tmp_path):
    """A command line in an empty folder."""
    found = Cli(tmp_path)
    yield found
    found.end()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A command line in a folder with the sweep file, which was run once."""
    found: Any = Cli(tmp_path_factory.mktemp("commands"))
    (found.folder / "tiny.yaml").write_text(SWEEP, encoding="utf-8")
    found.run = found("run", "tiny.yaml", "--workers", 1)
    return found
