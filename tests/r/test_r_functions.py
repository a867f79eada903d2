"""The functions for R give the same results as Python, with R's types, and R's errors for users' mistakes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.real_r import require_r, run_r
from helpers.study_states import EVERY_STATE
from helpers.written import SWEEP, Written

from cnn_sweep.journal.events import Epoch
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.study import Study

require_r("DBI", "RSQLite")

COMMAND = Path(sys.executable).with_name("cnn-sweep")
HERE = f'options(cnn_sweep.command = "{COMMAND}")\n'
TABLES = ("leaderboard", "trials", "epochs")
STATES = (
    *("nothing_begun", "first_epoch", "under_way", "repeats", "several_objectives", "finalized", "extended"),
    *("imported", "not_finite", "lists_and_null"),
)


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Studies in many states, and what R reads of each, as CSV files; the folder's name has blanks and umlauts.

    RSQLite finds no file with umlauts in its path where the encoding is not UTF-8.
    """
    root = tmp_path_factory.mktemp("r") / (
        "Versuch Größe" if sys.getfilesystemencoding() == "utf-8" else "mein Versuch"
    )
    for name in STATES:
        (root / name).mkdir(parents=True)
        EVERY_STATE[name](Written(root / name))
    code = """
    for (state in list.dirs(recursive = FALSE)) {
      tables <- list(
        leaderboard = cs_leaderboard("digits", results = state, merge = FALSE),
        trials = cs_trials("digits", results = state, merge = FALSE),
        epochs = cs_epochs("digits", results = state, merge = FALSE),
        studies = cs_studies(state, merge = FALSE)
      )
      for (name in names(tables)) {
        table <- tables[[name]]
        times <- vapply(table, inherits, NA, "POSIXct")
        table[times] <- lapply(table[times], as.numeric)
        write.csv(table, file.path(state, paste0(name, ".csv")), row.names = FALSE, na = "")
      }
    }
    """
    run_r(code, root)
    return root


def _read(file):
    return pd.read_csv(file, encoding="utf-8")


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("state", STATES)
def test_r_reads_what_python_reads(states, state, table):
    """Rows, their order and the values of all shared columns are those of ``cnn_sweep.Study``, in any state."""
    found = _read(states / state / f"{table}.csv")
    study = Study.open(states / state, "digits", merge=False)
    expected = study.leaderboard(per="trial") if table == "leaderboard" else getattr(study, table)()
    assert set(found.columns) - set(expected.columns) <= {"rank", "value"}
    missing = set(expected.columns) - set(found.columns)
    only_here = {"study", "threads", "user", "pareto"}
    assert missing <= only_here | {column for column in expected if expected[column].isna().all()}
    for column in set(found.columns) & set(expected.columns):
        ours, theirs = expected[column].tolist(), found[column].tolist()
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert _same(a, b), (column, a, b)


def _same(ours, theirs):
    """Compare a value of Python with R's, which has NA for null and for what is not a number."""
    if ours is None or str(ours) in {"nan", "null", "NaN"}:
        return str(theirs) in {"nan", "null"}
    if isinstance(ours, str):
        return ours == str(theirs).strip("\ufeff")
    if isinstance(ours, list):
        return str(ours).replace(" ", "") == theirs
    return theirs == pytest.approx(float(ours), rel=1e-13) or (np.isinf(ours) and str(ours) == str(theirs).lower())


def test_a_study_has_one_row(states):
    """``cs_studies`` counts trials by state, and names the best one."""
    for state in STATES:
        (row,) = _read(states / state / "studies.csv").to_dict("records")
        summary = Study.open(states / state, "digits", merge=False).summary()
        assert {name: row[name] for name in summary["trials"]} == summary["trials"]
        best = summary["best"] or {"trial": None, "value": None}
        assert _same(best["trial"], row["best_trial"])
        assert _same(best["value"], row["best_value"])


def _odd_params(draw):
    return {
        "filters": draw.choice([4, 8]),
        "learning_rate": draw.choice([1, 0.5]),
        "mirror": draw.choice([True, False]),
        "mode": draw.choice([True, "groß"]),
        "rank": draw.choice([2**40, 1]),
        "art": 'mit "ü", it\'s',
    }


ODD_SPACE = """\
  filters: [4, 8]
  learning_rate: [1, 0.5]
  mirror: [true, false]
  mode: [true, groß]
  rank: [1099511627776, 1]
  art: ["mit \\"ü\\", it's"]
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A study with hyperparameters of many types, and one whose metrics were no numbers."""
    written = Written(tmp_path_factory.mktemp("odd"))
    space = SWEEP.partition("space:\n")[0] + "space:\n" + ODD_SPACE + "training: {{epochs: 3}}\n"
    written.study(trials=20, sweep=space, params=_odd_params)
    metrics = {"loss": float("inf"), "accuracy": float("-inf"), "val_loss": float("nan"), "val_accuracy": 0.5}
    lines = [Epoch(1_030.0, trial, 0, 1, 1.0, metrics) for trial in (0, 1)]
    return written.study("infinite", trials=2, states=("running",), epochs=0, more=lines).results


def test_columns_have_rs_types(odd):
    """Switches are logical, whole numbers integer, times POSIXct; NaN is NA, and infinity is Inf."""
    code = """
    t <- cs_trials("digits", results = ".", merge = FALSE)
    kind <- function(name) class(t[[name]])[[1]]
    names <- c("trial", "state", "value", "started", "filters", "learning_rate", "mirror", "mode", "params_rank", "art")
    cat(vapply(names, kind, ""), "\n")
    cat(sort(unique(t$mode)), sort(unique(t$learning_rate)), format(sort(unique(t$params_rank)), digits = 15), "\n")
    cat(unique(t$art), identical(unique(t$art), 'mit "\\u00fc", it\\'s'), "\n")
    cat(format(t$started[[1]], tz = "UTC"), "\n")
    e <- cs_epochs("infinite", results = ".", merge = FALSE)
    cat(e$loss, e$accuracy, is.na(e$val_loss), e$val_accuracy, "\n")
    cat(nrow(cs_epochs("digits", c(1, 3), results = ".", merge = FALSE)), "\n")
    """
    classes, values, text, time, infinite, rows = run_r(code, odd).splitlines()
    assert classes.split() == [
        *("integer", "character", "numeric", "POSIXct", "integer", "numeric", "logical", "character", "numeric"),
        "character",
    ]
    assert values.split() == ["groß", "true", "0.5", "1", "1", "1099511627776"]
    assert text.split()[-1] == "TRUE"
    assert time.strip() == "1970-01-01 00:16:40"
    assert infinite.split() == ["Inf", "Inf", "-Inf", "-Inf", "TRUE", "TRUE", "0.5", "0.5"]
    assert rows.strip() == "6"


def _append_epoch(results):
    metrics = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    with StudyPaths(results, "digits").journal("other").open("ab") as file:
        file.write(encode(Epoch(1_040.0, 0, 0, 4, 1.0, metrics)))


def test_new_results_are_merged_first(tmp_path, monkeypatch):
    """Lines that a worker wrote since the last merge are read, also where file locking is unreliable.

    There, R reads the published version that counts, even if ``sweeps.db`` still shows an older one.
    """
    monkeypatch.setenv("CNN_SWEEP_LOCKS", "dishonest")
    written = Written(tmp_path).study(trials=2, states=("running",))
    old = (tmp_path / "sweeps.db").read_bytes()
    _append_epoch(written.results)
    count = 'cat(nrow(cs_epochs("digits", 0, results = ".", merge = {})), "")\n'
    stale = 'unlink("sweeps.db"); stopifnot(file.copy("old.db", "sweeps.db"))\n'
    (tmp_path / "old.db").write_bytes(old)
    code = HERE + count.format("FALSE") + count.format("TRUE") + stale + count.format("FALSE")
    assert run_r(code, tmp_path).split() == ["3", "4", "4"]


def test_configurations_have_means(states):
    """``per = "configuration"`` has a row per configuration with the statistics of the command."""
    code = """
    b <- cs_leaderboard("digits", per = "configuration", results = "repeats")
    cat(nrow(b), class(b$mean), class(b$tied), b$n, "\\n")
    """
    assert run_r(HERE + code, states).split() == ["6", "numeric", "logical", *["3"] * 6]


MISTAKES = [
    ('cs_studies("nowhere")', "there is no folder nowhere in "),
    ('cs_studies("empty", merge = FALSE)', "empty/sweeps.db: there is no store yet"),
    ('cs_leaderboard("digit", results = "one", merge = FALSE)', 'no study "digit" in the store; studies there: digits'),
    ('cs_trials(3, results = "one", merge = FALSE)', "study: the name of one study is needed"),
    ('cs_epochs("digits", 7, results = "one", merge = FALSE)', "trial 7 of digits has not begun; 1 trials have"),
    ('cs_sql("SELECT * FROM no", results = "one", merge = FALSE)', "no such table: no; tables and views: artifacts,"),
    ('cs_sql("DELETE FROM trials", results = "one", merge = FALSE)', "attempt to write a readonly database"),
    ('cs_studies("broken", merge = FALSE)', "broken/sweeps.db: cannot be read: file is not a database"),
    ('cs_run("nothing.yaml")', "nothing.yaml: the file cannot be read"),
    ('cs_status("digit", results = "one")', "no study 'digit' in one (did you mean 'digits'?)"),
    ('cs_command("plann")', "No such command 'plann'"),
    ('local({ options(cnn_sweep.command = "gone"); cs_status() })', "option cnn_sweep.command: there is no file gone"),
    ('cs_grid(list(1), "g.csv")', "a grid must be a data frame"),
    ('cs_grid(data.frame(a = 1:2), "nowhere/g.csv")', "the folder nowhere does not exist"),
    ('cs_grid(data.frame(a = c(1, Inf)), "g.csv")', "grid: column a, row 2: Inf is not a finite number"),
    ('cs_grid(data.frame(a = c("x", "")), "g.csv")', "grid: column a, row 2: the text is empty"),
    ('cs_grid(data.frame(a = Sys.Date()), "g.csv")', "grid: column a is of the class Date"),
    ('cs_grid(data.frame(a = c(1, 1)), "g.csv")', "grid: row 2 equals an earlier row"),
    ('cs_grid(data.frame(a = 1, a = 2, check.names = FALSE), "g.csv")', "grid: there are two columns a"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What R says about each mistake."""
    folder = tmp_path_factory.mktemp("mistakes")
    Written(folder / "one").study(trials=1)
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "sweeps.db").write_text("no database" * 100, encoding="utf-8")
    lines = [
        f'cat("#", tryCatch({{ {code}; "nothing" }}, cnn_sweep_error = conditionMessage), sep = "\\n")'
        for code, _ in MISTAKES
    ]
    texts = run_r(HERE + "\n".join(lines), folder).split("#\n")[1:]
    assert not list(folder.glob("g.csv"))
    return dict(zip([code for code, _ in MISTAKES], texts, strict=True))


@pytest.mark.parametrize(("code", "message"), MISTAKES)
def test_a_mistake_is_one_clear_error(said, code, message):
    """Wrong studies, files, statements, commands and grids give R conditions that say what, where and what else."""
    assert message in " ".join(said[code].split())


GRID = """
options(OutDec = ",")
grid <- expand.grid(
  learning_rate = c(0.1 + 0.2, 1e-4, 1 / 3), flip = c(TRUE, FALSE), art = c("gr\\u00f6\\u00dfe", 'a, "b"'),
  units = c(1e5, 3)
)
grid$units[2] <- NA
grid$kernel <- I(rep(list(c(3, 3), 5L), 12))
stopifnot(is.factor(grid$art))
cs_grid(grid, "grid.csv")
"""


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_grid_is_written_as_it_is(tmp_path, locale):
    """Rows keep their order, numbers every bit, factors are text, NA is empty; the locale changes nothing."""
    run_r(GRID, tmp_path, LC_ALL=locale)
    with (tmp_path / "grid.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["learning_rate", "flip", "art", "units", "kernel"]
    rates, flips, kinds, units, kernels = zip(*rows, strict=True)
    assert [float(rate) for rate in rates] == [0.1 + 0.2, 1e-4, 1 / 3] * 8
    assert list(flips) == (["true"] * 3 + ["false"] * 3) * 4
    assert list(kinds) == (["größe"] * 6 + ['a, "b"'] * 6) * 2
    assert units == ("100000", "", *["100000"] * 10, *["3"] * 12)
    assert kernels == ("[3, 3]", "5") * 12
    assert [path.name for path in tmp_path.iterdir()] == ["grid.csv"]


def test_words_arrive_as_they_are(tmp_path):
    """Blanks, quotes and umlauts reach the command; options follow arguments; R's own library folders do not."""
    fake = tmp_path / "cnn sweep"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" "${LD_LIBRARY_PATH-unset}"\nexit $CODE\n', encoding="utf-8")
    fake.chmod(0o755)
    code = """
    options(cnn_sweep.command = "cnn sweep", warn = 1)
    cs_command("plan", top = 1e5, "it's \\"a\\" $file.yaml", dry_run = TRUE, extend = FALSE, set = c("a=1", "b= 2"))
    for (code in c(1, 2, 130)) {
      Sys.setenv(CODE = code)
      said <- tryCatch(cs_command("x", show = FALSE), warning = conditionMessage, error = conditionMessage)
      cat(said, "\\n")
    }
    """
    lines = run_r(code, tmp_path, CODE="0", LD_LIBRARY_PATH="/mine").splitlines()
    words = ["plan", 'it\'s "a" $file.yaml', "--top", "100000", "--dry-run", "--set", "a=1", "--set", "b= 2"]
    assert lines[: len(words) + 1] == [*words, "/mine"]
    assert [line.strip() for line in lines[len(words) + 1 :]] == [
        "cnn-sweep ended with exit code 1",
        "cnn-sweep ended with exit code 2",
        "interrupted; the same call continues",
    ]


def test_the_command_prints_functions_that_know_it(tmp_path):
    """``cnn-sweep r`` prints a file for ``source``, which finds the command without a PATH."""
    environment = {"PATH": "/usr/bin:/bin"}
    file = tmp_path / "cnn_sweep.R"
    command = f'system("{COMMAND} r > {file}"); source("{file}"); cs_status()'
    assert "no studies in results" in run_r(command, tmp_path, source=None, **environment)
