"""How often intervals and ties over folds are right: simulated studies with real, small classifiers.

    python benchmarks/fold_intervals.py             1,000 studies a row (ten minutes)
    python benchmarks/fold_intervals.py --quick     a few; the page of results is left alone

Each study draws a data set of two classes with 40 features that are all equally informative. A configuration is the
nearest-centroid classifier on 10 of them, so all configurations are equally good on average, and each has its own
mistakes. It is cross-validated; its accuracies are multiples of 1/images as those of networks are. The truth is the
mean accuracy of all such classifiers on new images, which follows from their weights. In studies with a best
configuration, that one sees 16.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from results_page import write_section
from scipy.special import ndtr
from sklearn.model_selection import StratifiedKFold

from cnn_sweep.report.leaderboards.comparison import compare
from cnn_sweep.sweep.direction import Direction

_FEATURES, _SEEN, _SEEN_BY_BEST, _SHIFT = 40, 10, 16, 0.45
IMAGES, CONFIGURATIONS, FOLDS = (50, 100, 360), (5, 20), ((2, 1), (5, 1), (10, 1), (5, 2))  # folds and repeats


def draw(random, count):
    """Return labels, half of each class, and features, shape (count, _FEATURES)."""
    y = np.arange(count) % 2
    return y, random.standard_normal((count, _FEATURES), np.float32) + np.where(y, _SHIFT, -_SHIFT)[:, None] / 2


def accuracies(random, images, subsets, folds, repeats):
    """Cross-validate each configuration; return accuracies on folds (k, folds * repeats) and on new images (k,)."""
    y, x = draw(random, images)
    kinds = (StratifiedKFold(folds, shuffle=True, random_state=int(random.integers(2**31))) for _ in range(repeats))
    found, truth = [], []
    for train, inside in (pair for kind in kinds for pair in kind.split(y, y)):
        means = np.stack([x[train[y[train] == label]].mean(axis=0) for label in (0, 1)])
        weights, middle = (means[1] - means[0]) * subsets, (means[1] + means[0]) / 2  # (k, features), (features,)
        offset = weights @ middle  # (k,)
        found.append(((x[inside] @ weights.T > offset) == y[inside, None]).mean(axis=0))
        truth.append(_on_new_images(weights, offset))
    return np.array(found).T, np.mean(truth, axis=0)


def _on_new_images(weights, offset):
    """Return the accuracy of linear classifiers on new images, which are normal with a variance of 1; shape (k,)."""
    lead, length = weights.sum(axis=1) * _SHIFT / 2, np.linalg.norm(weights, axis=1)
    return (ndtr((lead - offset) / length) + ndtr((lead + offset) / length)) / 2


def subsets_of(random, configurations, *, best):
    """Return which features each configuration sees, shape (k, features), as 0 and 1."""
    sizes = [_SEEN_BY_BEST if best and not place else _SEEN for place in range(configurations)]
    chosen = np.zeros((configurations, _FEATURES))
    for row, size in zip(chosen, sizes, strict=True):
        row[random.choice(_FEATURES, size, replace=False)] = 1.0
    return chosen


def judged(values, overlap):
    """Compare configurations with the project's own statistics."""
    return compare([dict(enumerate(row)) for row in values.tolist()], Direction.MAXIMIZE, overlap=overlap)


def simulate(images, configurations, folds, repeats, studies):
    """Return how often the statistics of one kind of study are right, by name."""
    random, overlap = np.random.default_rng([images, configurations, folds, repeats]), 1 / (folds - 1)
    kind = configurations, folds, repeats

    def studies_of(*, best):
        for _ in range(studies):
            yield accuracies(random, images, subsets_of(random, kind[0], best=best), *kind[1:])

    equal = list(studies_of(best=False))
    truth = float(np.mean([own for _, own in equal]))
    together = [judged(values, overlap) for values, _ in equal]
    shares = {
        "one interval": [_holds(judged(values[:1], overlap), truth) for values, _ in equal],
        "uncorrected": [_holds(judged(values[:1], 0.0), truth) for values, _ in equal],
        "all intervals": [_holds(found, truth) for found in together],
        "false worse": [any(one.tied is False for one in found) for found in together],
        "best kept": [judged(values, overlap)[0].tied is not False for values, _ in studies_of(best=True)],
    }
    return {name: float(np.mean(values)) for name, values in shares.items()}


def _holds(found, truth):
    """Return whether all intervals hold the truth."""
    return all(one.low is None or one.low <= truth <= one.high for one in found)


def main():
    """Print a table of all kinds of studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    sizes, counts, studies = IMAGES, CONFIGURATIONS, options.studies
    if options.quick:
        sizes, counts, studies = IMAGES[1:2], CONFIGURATIONS[:1], 16
    rows, found = [], {}
    for images, configurations, (folds, repeats) in product(sizes, counts, FOLDS):
        found = simulate(images, configurations, folds, repeats, studies)
        name = f"{configurations}, {folds} folds" + (f" x {repeats}" if repeats > 1 else "")
        rows.append((name, f"{images:,}", *(f"{share:.1%}" for share in found.values())))
        print(*rows[-1], sep=" ", flush=True)
    write_section(
        "Intervals and ties over folds",
        ("configurations", "images", *found),
        rows,
        note=f'{studies:,} simulated studies a row. "One interval" is how often the 95% interval of one configuration '
        'holds its true mean, with Nadeau and Bengio\'s correction and without, and "all intervals" how often those of '
        'all configurations do together. "False worse": any of equally good configurations is called worse. "Best '
        'kept": one that is truly better than all others is not called worse.',
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
