"""How often intervals and ties over folds are right: simulated studies with real, small classifiers.

    python benchmarks/fold_intervals.py             1,000 studies a row (an hour)
    python benchmarks/fold_intervals.py --quick     a few; the page of results is left alone

Each study draws a data set of two classes with 40 features that are all equally informative. A configuration sees 10 of
them, so all configurations are equally good on average, and each has its own mistakes. It is cross-validated; its
accuracies are multiples of 1/images. The truth is the mean accuracy of all such classifiers on new images. In studies
with a best configuration, that one sees 16. There are two kinds of classifiers: nearest centroids, which hardly depend
on which images train them, and networks with a hidden layer, which do.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
from results_page import write_section
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold

from cnn_sweep.report.leaderboards.comparison import compare
from cnn_sweep.sweep.direction import Direction

_FEATURES, _SEEN, _SEEN_BY_BEST, _SHIFT, _NEW_IMAGES = 40, 10, 16, 0.45, 1000
_HIDDEN, _STEPS, _RATE = 8, 100, 0.05
IMAGES, FOLDS = (50, 100, 360), ((2, 1), (5, 1), (10, 1), (5, 2))  # folds and repeats
KINDS = (("nearest centroids", 5), ("nearest centroids", 20), ("networks", 5))  # of classifiers, and how many


def draw(random, count):
    """Return labels, half of each class, and features, shape (count, _FEATURES)."""
    y = np.arange(count) % 2
    return y, random.standard_normal((count, _FEATURES), np.float32) + np.where(y, _SHIFT, -_SHIFT)[:, None] / 2


def centroids(_random, x, y, subsets):
    """Train nearest-centroid classifiers; return a function from features to predictions, shape (k, images)."""
    means = np.stack([x[y == label].mean(axis=0) for label in (0, 1)])
    weights = (means[1] - means[0]) * subsets  # (k, features)
    offset = weights @ (means[1] + means[0]) / 2  # (k,)
    return lambda images: weights @ images.T > offset[:, None]


def networks(random, x, y, subsets):
    """Train networks with a hidden layer by Adam on all images; return a function as `centroids` does."""
    k, seen = len(subsets), subsets[:, :, None].astype(np.float32)
    shapes = (k, _FEATURES, _HIDDEN), (k, 1, _HIDDEN), (k, _HIDDEN, 1), (k, 1, 1)
    scales = np.sqrt(2 / subsets.sum(axis=1))[:, None, None], 0.0, np.sqrt(2 / _HIDDEN), 0.0  # He's
    drawn = (random.standard_normal(shape) * scale for shape, scale in zip(shapes, scales, strict=True))
    weights = [one.astype(np.float32) for one in drawn]
    weights[0] *= seen
    moments = [(np.zeros_like(one), np.zeros_like(one)) for one in weights]
    for step in range(1, _STEPS + 1):
        hidden = np.maximum(x @ weights[0] + weights[1], 0)  # (k, images, _HIDDEN)
        error = (expit(hidden @ weights[2] + weights[3]) - y[:, None]).astype(np.float32) / len(y)
        below = (error @ weights[2].transpose(0, 2, 1)) * (hidden > 0)
        sums = [one.sum(axis=1, keepdims=True) for one in (below, error)]
        gradients = (x.T @ below) * seen, sums[0], hidden.transpose(0, 2, 1) @ error, sums[1]
        for weight, (mean, square), gradient in zip(weights, moments, gradients, strict=True):
            mean[:] += 0.1 * (gradient - mean)
            square[:] += 0.01 * (gradient**2 - square)
            weight[:] -= _RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-7)
    return lambda images: (np.maximum(images @ weights[0] + weights[1], 0) @ weights[2] + weights[3])[:, :, 0] > 0


TRAIN = {"nearest centroids": centroids, "networks": networks}


def accuracies(random, images, train, division):
    """Cross-validate each configuration; return accuracies on folds (k, folds * repeats) and on new images (k,)."""
    (y, x), (new_y, new_x), (folds, repeats) = draw(random, images), draw(random, _NEW_IMAGES), division
    kinds = (StratifiedKFold(folds, shuffle=True, random_state=int(random.integers(2**31))) for _ in range(repeats))
    found, truth = [], []
    for seen, inside in (pair for kind in kinds for pair in kind.split(y, y)):
        predict = train(x[seen], y[seen])
        found.append((predict(x[inside]) == y[inside]).mean(axis=1))
        truth.append((predict(new_x) == new_y).mean(axis=1))
    return np.array(found).T, np.mean(truth, axis=0)


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


def simulate(kind, images, division, studies):
    """Return how often the statistics of one kind of study are right, by name."""
    configurations, overlap, train = kind[1], 1 / (division[0] - 1), TRAIN[kind[0]]
    random = np.random.default_rng([images, configurations, *division])

    def studies_of(*, best):
        for _ in range(studies):
            subsets = subsets_of(random, configurations, best=best)
            yield accuracies(random, images, lambda x, y, subsets=subsets: train(random, x, y, subsets), division)

    equal = list(studies_of(best=False))
    truth = float(np.mean([own for _, own in equal]))
    together = [judged(values, overlap) for values, _ in equal]
    single = [values[k : k + 1] for values, _ in equal for k in range(configurations)]
    shares = {
        "one interval": [_holds(judged(values, overlap), truth) for values in single],
        "uncorrected": [_holds(judged(values, 0.0), truth) for values in single],
        "all intervals": [_holds(found, truth) for found in together],
        "false worse": [any(one.tied is False for one in found) for found in together],
        "best kept": [judged(values, overlap)[0].tied is not False for values, _ in studies_of(best=True)],
    }
    return {name: float(np.mean(values)) for name, values in shares.items()}


def _holds(found, truth):
    """Return whether all intervals hold the truth."""
    return all(one.low is None or one.low <= truth <= one.high for one in found)


def _row_of_table(kind, images, division, studies):
    (classifier, configurations), (folds, repeats) = kind, division
    found = simulate(kind, images, division, studies)
    name = f"{configurations} {classifier}, {folds} folds" + (f" x {repeats}" if repeats > 1 else "")
    row = (name, f"{images:,}", *(f"{share:.1%}" for share in found.values()))
    print(*row, flush=True)
    return row, (*found,)


def main():
    """Print a table of all kinds of studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--studies", type=int, default=1000)
    options = parser.parse_args()
    kinds, sizes, studies = KINDS, IMAGES, options.studies
    if options.quick:
        kinds, sizes, studies = (KINDS[0], KINDS[-1]), IMAGES[1:2], 8
    cases = [(*case, studies) for case in product(kinds, sizes, FOLDS)]
    with ProcessPoolExecutor() as processes:
        rows, names = zip(*processes.map(_row_of_table, *zip(*cases, strict=True)), strict=True)
    write_section(
        "Intervals and ties over folds",
        ("configurations", "images", *names[0]),
        rows,
        note=f'{studies:,} simulated studies a row. "One interval" is how often the 95% interval of one configuration '
        'holds its true mean, with Nadeau and Bengio\'s correction and without, and "all intervals" how often those of '
        'all configurations do together. "False worse": any of equally good configurations is called worse. "Best '
        'kept": one that is truly better than all others is not called worse.',
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
