"""Studies with handwritten journals, and the tables made from them."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from helpers.sweeps import sweep_of_digits

from cnn_sweep.journal.events import End, Epoch, Extend, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.store.merge import merge

SWEEP = sweep_of_digits("""\
space:
  filters: [4, 8]
  learning_rate: [0.1, 0.01]
  optimizer: [sgd, adam]
training: {{epochs: 3, optimizer: {{name: $optimizer, learning_rate: $learning_rate}}}}
""")
# What a merge leaves to chance or to the clock is none of these.
TABLES = (
    *("studies", "revisions", "configurations", "trials", "attempts", "epochs", "artifacts", "workers", "jobs"),
    *("journals", "bad_lines"),
)


class Told:
    """A study that a test writes the journals of."""

    def __init__(self, results, study="digits", metric="val_accuracy", direction="maximize"):
        self.paths = StudyPaths(results, study)
        self.paths.create()
        text = SWEEP.format(study=study, metric=metric, direction=direction)
        self.paths.sweep.write_text(text, encoding="utf-8")

    def tell(self, writer, *events):
        """Append events to a writer's journal."""
        self.append(writer, b"".join(map(encode, events)))

    def append(self, writer, data):
        """Append bytes to a writer's journal."""
        with self.paths.journal(writer).open("ab") as file:
            file.write(data)

    def run(self, writer, trial, values, *, attempt=0, **how):
        """Tell of an attempt from its start to its end.

        Further keywords: ``after`` (the last epoch that it takes over), ``params``, ``state`` (None: it runs).
        """
        after, state = how.pop("after", 0), how.pop("state", "complete")
        params = how.pop("params", {"filters": 4, "learning_rate": 0.1, "optimizer": "sgd"})
        assert not how
        at = 1000.0 + 10 * trial + attempt
        self.tell(writer, Start(at, trial, attempt, f"c{trial}", 0, 7, params, after, 123))
        for epoch, value in enumerate(values, start=after + 1):
            metrics = {"loss": 1 / epoch, "val_loss": 2 / epoch, "val_accuracy": value, "learning_rate": 0.05}
            self.tell(writer, Epoch(at + epoch, trial, attempt, epoch, 0.5, metrics))
        if state is not None:
            epochs = after + len(values)
            self.tell(writer, End(at + 9, trial, attempt, state, None, None, epochs, 4.5, 123))

    def plan(self, trials):
        """Tell that the study exists."""
        identity = ProcessIdentity("host", "boot", "pid:[1]", 7, 8)
        self.tell("login", Worker(1.0, identity, {"keras": "3"}, 1), Extend(2.0, 1, trials, trials, 0, 0))


@pytest.fixture
def results(tmp_path):
    """An empty results folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def new_study():
    """Make a study in a results folder, named after what it is told."""
    return Told


@pytest.fixture
def study(results):
    """A study with two workers: four trials in all possible conditions."""
    told = Told(results)
    told.plan(8)
    told.run("a", 0, [0.5, 0.7, 0.6])
    told.run("b", 1, [0.5, 0.9])
    told.run("a", 2, [0.1], state="failed")
    told.run("b", 3, [0.4, 0.6], state=None)
    return told


class Tables:
    """What stores say."""

    def __init__(self, scratch):
        self._scratch = scratch

    def now(self, results):
        """Return the rows of all tables and the views of a results folder's store."""
        connection = sqlite3.connect(results / "sweeps.db")
        try:
            tables = {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for name in TABLES}
            views = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall()
            return tables | {"views": sorted(views)}
        finally:
            connection.close()

    def anew(self, results):
        """Return the same of a store that is made of copies of the journals alone."""
        fresh = self._scratch.mktemp("fresh") / "results"
        leave = shutil.ignore_patterns("sweeps.db*", ".sweeps*", ".filesystem*")
        shutil.copytree(results, fresh, ignore=leave)
        assert merge(fresh, wait_s=5).skipped is None
        return self.now(fresh)


@pytest.fixture(scope="session")
def tables(tmp_path_factory):
    """Look at what stores say."""
    return Tables(tmp_path_factory)


@pytest.fixture(params=["honest", "dishonest"])
def locks(request, monkeypatch):
    """Both ways of merging."""
    monkeypatch.setenv("CNN_SWEEP_LOCKS", request.param)
    return request.param
