"""How well the value of the best of many is corrected for selection bias, and cross-fitted ensembles, in simulations.

An image's score is positive if a network is right: its skill, plus a part that all networks share, as some images are
hard for all, plus a part of its own. Skills scatter between networks; the truth is the accuracy on new images.

    python benchmarks/selection_bias.py             400 studies a row (some minutes)
    python benchmarks/selection_bias.py --quick     a few; the page of results is left alone
"""

from __future__ import annotations

import argparse
from itertools import product
from math import sqrt

import numpy as np
from results_page import write_section
from scipy.special import expit, ndtr, ndtri

from cnn_sweep.report.models.ensembles import Goal, ensemble_of
from cnn_sweep.report.models.selection_bias import corrected
from cnn_sweep.report.models.validated import Validated
from cnn_sweep.sweep.direction import Direction

_ACCURACY, _SHARED, _SHARPNESS = 0.8, 0.5, 3.0  # of the mean network; variance of the shared part; of probabilities
_DRAWS, _NEW, _MEMBERS = 200, 20_000, 5
_SPREADS = (0.0, 1.0, 3.0)  # of skills, in standard errors
KINDS = (*product((50, 200), (5, 20, 200), _SPREADS), *product((1000,), (5, 20), _SPREADS))  # images, networks, spread
ENSEMBLES = ((200, 20),)  # images and networks


def standard_error(images):
    """Return the standard error of the mean network's accuracy."""
    return sqrt(_ACCURACY * (1 - _ACCURACY) / images)


def skills_of(random, networks, spread, images):
    """Draw accuracies that scatter by a number of standard errors; return skills, shape (networks,)."""
    accuracies = _ACCURACY + spread * standard_error(images) * random.normal(size=networks)
    return ndtri(np.clip(accuracies, 0.05, 0.97))


def scores(random, skills, images):
    """Return the scores of networks (columns) on images (rows)."""
    shared, own = random.normal(size=(images, 1)), random.normal(size=(images, len(skills)))
    return skills + sqrt(_SHARED) * shared + sqrt(1 - _SHARED) * own


def networks_of(found):
    """Return what networks with such scores predict for images that are all of the second class."""
    images, ones = np.arange(len(found)), np.ones(len(found), np.intp)
    right = expit(_SHARPNESS * found).astype(np.float32)
    return [
        Validated((trial,), ("no", "yes"), "validation", images, ones, np.stack([1 - own, own], axis=1))
        for trial, own in enumerate(right.T)
    ]


def out_of_bag(random, right):
    """Return the corrected value by BBC-CV (Tsamardinos et al. 2018): the best of each draw, on images not drawn."""
    images = len(right)
    weights = random.multinomial(images, np.full(images, 1 / images), _DRAWS).astype(float)
    chosen, left = (weights @ right).argmax(axis=1), (weights == 0).astype(float)
    return float(np.mean((left @ right)[np.arange(_DRAWS), chosen] / left.sum(axis=1)))


def simulate(images, networks, spread, studies):
    """Return the mean errors of the best value, the corrected ones and ours, and the coverage of our intervals."""
    random = np.random.default_rng([images, networks, int(spread)])
    rows = []
    for _ in range(studies):
        skills = skills_of(random, networks, spread, images)
        found = scores(random, skills, images)
        ours = corrected([[one] for one in networks_of(found)], "accuracy", Direction.MAXIMIZE)
        truth = float(ndtr(skills[ours.trials[0]]))
        other = out_of_bag(random, (found > 0).astype(float))
        rows.append((ours.best - truth, other - truth, ours.value - truth, ours.low <= truth <= ours.high))
    return np.mean(rows, axis=0)


def simulate_ensembles(images, networks, studies):
    """Return the mean errors of an ensemble's value and of the cross-fitted one."""
    random = np.random.default_rng([images, networks])
    rows = []
    for _ in range(studies):
        skills = skills_of(random, networks, 1.0, images)
        made = ensemble_of(
            networks_of(scores(random, skills, images)), Goal("accuracy", Direction.MAXIMIZE), size=_MEMBERS
        )
        new = expit(_SHARPNESS * scores(random, skills[[one.trials[0] for one in made.members]], _NEW))
        truth = float(np.mean(new.mean(axis=1) > 0.5))
        rows.append((made.value - truth, made.cross_fitted - truth))
    return np.mean(rows, axis=0)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--studies", type=int, default=400)
    options = parser.parse_args()
    kinds, ensembles, studies = KINDS, ENSEMBLES, options.studies
    if options.quick:
        kinds, ensembles, studies = ((200, 20, 0.0), (200, 20, 3.0)), ((50, 5),), 40
    rows = []
    for images, networks, spread in kinds:
        *errors, coverage = simulate(images, networks, spread, studies)
        cells = (f"{error / standard_error(images):+.2f}" for error in errors)
        rows.append((f"{networks}, skills with {spread:g} se", f"{images:,}", *cells, f"{coverage:.0%}"))
        print(*rows[-1], flush=True)
    for images, networks in ensembles:
        best, ours = (error / standard_error(images) for error in simulate_ensembles(images, networks, studies // 4))
        rows.append((f"{_MEMBERS} members of {networks}", f"{images:,}", f"{best:+.2f}", "", f"{ours:+.2f}", ""))
        print(*rows[-1], flush=True)
    write_section(
        "Selection bias of the best of many",
        ("networks", "images", "bias of the best", "of BBC-CV", "of ours", "coverage"),
        rows,
        note=f"{studies:,} simulated studies a row ({studies // 4:,} of ensembles). Biases are in standard errors (se) "
        f"of an accuracy of {_ACCURACY:.0%} on so many images, and known to about {1.3 / sqrt(studies):.2f}. Skills "
        f"are the true accuracies of networks. Coverage is that of our 95% intervals. BBC-CV has {_DRAWS} draws. The "
        "last rows are ensembles: the score of the images that chose the members, and the cross-fitted one.",
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
