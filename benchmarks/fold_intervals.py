"""How often intervals and ties over folds are right: simulated studies with real, small classifiers.

    python benchmarks/fold_intervals.py [--studies 1000] [--json FILE]

Each study draws a data set of two classes with 40 features that are all equally informative. A configuration is the
nearest-centroid classifier on 10 of them, so all configurations are equally good on average, and each has its own
mistakes. It is cross-validated; its accuracies are multiples of 1/images as those of networks are. The truth is the
mean accuracy of the same classifiers on 2,000 new images. In studies with a best configuration, that one sees 16.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from itertools import product

import numpy as np
from sklearn.model_selection import StratifiedKFold

from cnn_sweep.report.leaderboards.comparison import compare
from cnn_sweep.sweep.direction import Direction

_FEATURES, _SEEN, _SEEN_BY_BEST, _SHIFT = 40, 10, 16, 0.45
_NEW = 2000
IMAGES, CONFIGURATIONS, FOLDS = (50, 100, 360), (5, 20), ((2, 1), (5, 1), (10, 1), (5, 2))  # folds and repeats


def draw(random, count):
    """Return labels, half of each class, and features, shape (count, _FEATURES)."""
    y = np.arange(count) % 2
    return y, random.normal(0.0, 1.0, (count, _FEATURES)) + np.where(y, _SHIFT, -_SHIFT)[:, None] / 2


def accuracies(random, images, subsets, folds, repeats):
    """Cross-validate each configuration; return accuracies on folds (k, folds * repeats) and on new images (k,)."""
    y, x = draw(random, images)
    new_y, new_x = draw(random, _NEW)
    kinds = (StratifiedKFold(folds, shuffle=True, random_state=int(random.integers(2**31))) for _ in range(repeats))
    found, truth = [], []
    for train, inside in (pair for kind in kinds for pair in kind.split(y, y)):
        means = np.stack([x[train[y[train] == label]].mean(axis=0) for label in (0, 1)])
        direction, middle = (means[1] - means[0]) * subsets, (means[1] + means[0]) / 2  # (k, features), (features,)
        found.append((((x[inside] - middle) @ direction.T > 0) == y[inside, None]).mean(axis=0))
        truth.append((((new_x - middle) @ direction.T > 0) == new_y[:, None]).mean(axis=0))
    return np.array(found).T, np.mean(truth, axis=0)


def subsets_of(random, configurations, *, best):
    """Return which features each configuration sees, shape (k, features), as 0 and 1."""
    sizes = [_SEEN_BY_BEST if best and not place else _SEEN for place in range(configurations)]
    chosen = np.zeros((configurations, _FEATURES))
    for row, size in zip(chosen, sizes, strict=True):
        row[random.choice(_FEATURES, size, replace=False)] = 1.0
    return chosen


def judged(values, folds):
    """Compare configurations with the project's own statistics."""
    return compare([dict(enumerate(row)) for row in values.tolist()], Direction.MAXIMIZE, overlap=1 / (folds - 1))


def simulate(images, configurations, folds, repeats, studies):
    """Return how often the statistics of one kind of study are right."""
    random = np.random.default_rng([images, configurations, folds, repeats])
    equal = [
        accuracies(random, images, subsets_of(random, configurations, best=False), folds, repeats)
        for _ in range(studies)
    ]
    truth = float(np.mean([own for _, own in equal]))
    alone, together, worse = [], [], []
    for values, _ in equal:
        (one,) = judged(values[:1], folds)
        alone.append(one.low is None or one.low <= truth <= one.high)
        found = judged(values, folds)
        together.append(all(one.low is None or one.low <= truth <= one.high for one in found))
        worse.append(any(one.tied is False for one in found))
    kept = []
    for _ in range(studies):
        subsets = subsets_of(random, configurations, best=True)
        kept.append(judged(accuracies(random, images, subsets, folds, repeats)[0], folds)[0].tied is not False)
    shares = {"interval_alone": alone, "intervals_together": together, "any_called_worse": worse, "best_kept": kept}
    return {"images": images, "configurations": configurations, "folds": folds, "repeats": repeats} | {
        name: float(np.mean(values)) for name, values in shares.items()
    }


def main():
    """Print a table of all kinds of studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--json", help="also write the rows to this file")
    arguments = parser.parse_args()
    rows = []
    for images, configurations, (folds, repeats) in product(IMAGES, CONFIGURATIONS, FOLDS):
        rows.append(simulate(images, configurations, folds, repeats, arguments.studies))
        if len(rows) == 1:
            print("| " + " | ".join(name.replace("_", " ") for name in rows[0]) + " |")
            print("|---:" * len(rows[0]) + "|")
        print(
            "| " + " | ".join(f"{v:.1%}" if isinstance(v, float) else str(v) for v in rows[-1].values()) + " |",
            flush=True,
        )
    if arguments.json:
        with pathlib.Path(arguments.json).open("w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
