"""What ``time_to_target.py`` searches: spaces of small networks on real images, and the values that chance finds.

``target_cases.py NAME TRIALS RESULTS`` trains random configurations once and keeps their values in
``random_bests.json``, for cases whose learning curves are not in a table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from digits_table import DigitsTable
from sweep_cases import SPLITS

from cnn_sweep.study import Study
from cnn_sweep.sweep.space.space import Range
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepare

HERE = Path(__file__).parent
BESTS = HERE / "random_bests.json"
FASHION = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package dataset-fashion-mnist
RANDOM_TRIALS = 200
MOST_TRIALS = 1000  # no contender gets that far within the limit
OUR_SEARCHES = {
    "ours_random": "search: {method: random, %s}",
    "ours_tpe": "search: {method: tpe, %s}",
    "ours_asha": "search: {method: random, %s}\npruner: asha",
    "ours_tpe_asha": "search: {method: tpe, %s}\npruner: asha",
    "ours_predictive": "search: {method: random, %s}\npruner: predictive",
    "ours_tpe_predictive": "search: {method: tpe, %s}\npruner: predictive",
}


@dataclass(frozen=True)
class TargetCase:
    """One space of networks.

    Attributes:
        name: Its key.
        title: What it is, in a heading.
        file: The sweep file; its search is replaced.
    """

    name: str
    title: str
    file: Path

    @cached_property
    def sweep(self) -> Sweep:
        """The sweep."""
        return Sweep.load(self.file)

    @cached_property
    def values(self) -> np.ndarray | None:
        """Best validation accuracies of complete random trials, shape (trials,); None if they were not trained."""
        if self.name == "digits":
            table = DigitsTable.load()
            return np.array([table.best(params) for params in table.params])
        known = _bests().get(self.name)
        return None if known is None else np.array(known)

    def target(self, trials: int = RANDOM_TRIALS) -> float:
        """Return the median best of that many random trials."""
        random = np.random.default_rng(0)
        draws = [random.choice(self.values, trials, replace=False).max() for _ in range(2_000)]
        return float(np.median(draws))

    def our_sweep(self, search: str, seed: int, trials: int = MOST_TRIALS) -> str:
        """Return a sweep file with one of `OUR_SEARCHES`."""
        text = self.file.read_text(encoding="utf-8")
        for old, new in (
            (f"study: {self.sweep.study}", "study: target"),
            ("search: {method: grid}", OUR_SEARCHES[search] % f"trials: {trials}, seed: {seed}"),
        ):
            assert old in text
            text = text.replace(old, new)
        return text

    def write(self, folder: Path, target: float) -> None:
        """Write what peers read: the images of the project's own split, the space, the value to reach."""
        data = load(prepare(self.sweep.data, HERE, folder / "prepared"))
        for name in SPLITS:
            np.save(folder / f"x_{name}.npy", np.asarray(data.splits[name].x, np.float32) * data.rescale)
            np.save(folder / f"y_{name}.npy", np.asarray(data.splits[name].y))
        space = {name: _domain(parameter.domain) for name, parameter in self.sweep.space.by_name.items()}
        training = self.sweep.resolve(self.sweep.grid.rows[0]).training
        shape, classes = data.info.image_shape, len(data.info.class_names)
        facts = {"space": space, "target": target, "epochs": training.epochs, "shape": shape, "classes": classes}
        (folder / "case.json").write_text(json.dumps(facts), encoding="utf-8")


def _bests() -> dict[str, list[float]]:
    return json.loads(BESTS.read_text(encoding="utf-8")) if BESTS.exists() else {}


def _domain(domain: Any) -> Any:
    """Return a list of choices, or the ends of a range, all of whose numbers count."""
    if isinstance(domain, Range):
        assert domain.log
        return {"low": domain.low, "high": domain.high}
    return list(domain.values)


CASES = {
    case.name: case
    for case in (
        TargetCase("digits", "Time to a network as good as the best of 200: digits", HERE / "digits.yaml"),
        TargetCase("fashion", "Time to a network as good as the best of 200: Fashion-MNIST", HERE / "fashion.yaml"),
    )
}


def use_fashion(folder: Path, place: Path) -> bool:
    """Let the project and Keras find Fashion-MNIST's files in a folder; tell whether they are there."""
    if not folder.is_dir():
        return False
    (place / "datasets").mkdir(parents=True)
    (place / "datasets" / "fashion-mnist").symlink_to(folder.resolve())
    os.environ["KERAS_HOME"] = str(place)
    return True


def main() -> None:
    name, trials, results = sys.argv[1:]
    if not use_fashion(FASHION, Path(results, "keras")):
        sys.exit(f"{FASHION}: no such folder")
    file = Path(results, "random.yaml")
    file.write_text(CASES[name].our_sweep("ours_random", 0, int(trials)) + "models: {keep: 0}\n", encoding="utf-8")
    command = [sys.executable, "-m", "cnn_sweep.cli.main", "run", str(file), "--results", results]
    subprocess.run(command, check=False)
    found = Study.open(Path(results), "target").trials().sort_values("trial")["value"].fillna(0.0)
    values = [round(float(value), 6) for value in found]
    BESTS.write_text(json.dumps(_bests() | {name: values}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
