"""Benchmarks that look into workers, or simulate studies, still find what they measure."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def quick(benchmark, *options):
    """Return the cells of a benchmark's short form by those of the first column."""
    command = [sys.executable, str(BENCHMARKS / benchmark), "--quick", *options]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line]
    return {name: cells for name, *cells in rows}


@pytest.mark.long
def test_a_trial_of_a_known_shape_costs_little_beside_its_training():
    """Far less than the 4 s of a new process, on the busiest machine."""
    figures = quick("overhead.py")
    assert 0.0 < float(figures["overhead of a trial, shape seen before, s"][0]) < 1.0
    assert float(figures["share of a warm worker's time inside graphs"][0].rstrip("%")) > 0.0


@pytest.mark.long
def test_a_search_is_timed_until_its_model_is_in_hand():
    """An easy target is reached by our random search and by Optuna's two processes, and neither runs on."""
    names = {"ours_random": "cnn-sweep random", "optuna_median": "Optuna TPE, median pruner, two processes"}
    contenders = [word for name in names for word in ("--contender", name)]
    figures = quick("time_to_target.py", "--case", "digits", *contenders)
    assert [figures[name][0] for name in names.values()] == ["1 of 1", "1 of 1"]
    assert all(float(figures[name][1]) > 1.0 for name in names.values())


@pytest.mark.long
def test_a_step_is_split_by_its_operations():
    """Convolutions and their gradients are found; shares add up to the step."""
    figures = quick("op_table.py")
    del figures["operation"]
    assert any("Conv2DBackpropFilter" in kind for kind in figures)
    assert sum(float(cells[2].rstrip("%")) for cells in figures.values()) == pytest.approx(100, abs=1)


def test_rounds_of_repeats_seldom_err_and_save_trainings():
    """Equal configurations are kept; where means differ clearly, about half the trainings of a fixed design do."""
    figures = {name: cells[1:3] for name, cells in quick("sequential_repeats.py").items() if name[0].isdigit()}
    assert len(figures) == 4
    assert all(float(wrong.rstrip("%")) < 15 for wrong, _ in figures.values())  # at most 2 of 16 studies
    assert all(float(used) <= 0.6 for name, (_, used) in figures.items() if "4 sd" in name)


def test_intervals_over_folds_hold():
    """In nearly all of a few studies; hardly any configuration is called worse than its equals."""
    rows = list(quick("fold_intervals.py").values())[1:]
    assert len(rows) == 8
    for _, *shares in rows:
        one, _, together, worse, kept = (float(share.rstrip("%")) for share in shares)
        assert min(one, together, kept) > 75
        assert worse < 25


def test_selection_bias_is_corrected():
    """The best of many looks better than it is; corrected it hardly does, and a cross-fitted ensemble neither."""
    rows = quick("selection_bias.py")
    best, _, ours, coverage = rows["20, skills with 0 se"][1:]
    assert float(best) > 1.0
    assert abs(float(ours)) < 0.8
    assert float(coverage.rstrip("%")) > 85
    assert abs(float(rows["5 members of 5"][3])) < 1.5


def write_table(file):
    """Write a table of learning curves, in which the rate says how good a configuration is, and one diverges."""
    best = np.random.default_rng(0).random(24)
    curves = best[None, :, None] * (1 - np.exp(-np.arange(1, 8) / 2))
    curves[0, 3, 4:] = np.nan
    params = [{"rate": float(value), "kind": "ab"[number % 2]} for number, value in enumerate(best)]
    np.savez(file, params=json.dumps(params), val_accuracy=curves)


def test_searches_are_compared_on_any_table_of_curves(tmp_path):
    """A table without names of tasks, of any size and with a diverged trial, gives a row for each method."""
    write_table(tmp_path / "table.npz")
    methods = ["asha, rungs from 1", "median", "predictive", "Optuna TPE, median"]
    options = ["--table", "table.npz", "--seeds", "2", "--json", "rows.json", "--jobs", "1", "--methods", *methods]
    command = [sys.executable, str(BENCHMARKS / "curves.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text(encoding="utf-8"))}
    assert list(rows) == ["random", *methods]
    assert [name for name, row in rows.items() if row["recommended"]] == ["predictive"]
    assert (rows["random"]["epochs_ratio"], rows["random"]["never_found"]) == (1.0, 0.0)
    assert rows["predictive"]["never_found"] == 0.0
    assert 0.0 < rows["predictive"]["epochs_ratio"] < 1.0
    assert {"regret_5", "regret_10", "regret_20", "regret_50"} <= rows["predictive"].keys()


def test_a_search_that_no_longer_pays_is_simulated(tmp_path):
    """With noise that is larger than all differences, searches end early; the figures are those of any table."""
    write_table(tmp_path / "table.npz")
    command = [sys.executable, str(BENCHMARKS / "enough.py"), "--table", "table.npz", "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line][1:]
    assert [row[0] for row in rows] == ["0.002", "0.005", "0.01", "0.02"]
    assert all(float(row[6]) < 4 for row in rows)


def test_earlier_knowledge_saves_epochs_on_any_table_of_curves(tmp_path):
    """The best configurations of an earlier study of the same images, or the best as a prior, end a search at once."""
    write_table(tmp_path / "table.npz")
    options = ["--table", "table.npz", "--seeds", "2", "--searches", "random", "tpe"]
    command = [sys.executable, str(BENCHMARKS / "prior_knowledge.py"), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | " in line]
    shares = {(row[0], row[1]): row[2].split()[0] for row in rows[1:]}
    assert len(shares) == 14
    assert float(shares["random", "learn_from, same task"]) <= 0.5
    assert float(shares["random", "prior, best of same task"]) <= 0.5
