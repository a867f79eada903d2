"""Sends requests to a separate process that uses a study's models, so that TensorFlow does not start here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from cnn_sweep import errors
from cnn_sweep.errors import EnvironmentFault, Interrupted
from cnn_sweep.execution.models.mixture import Mixture
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.trust import check_study

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

REQUEST, ANSWER = "request.json", "answer.json"


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        results: Root of all studies.
        study: The study's name.
        work: What to do.
        trial: Number of a complete trial; None for the best.
        split: Predict the images of this split; if None, those in the request's folder.
        layer: Name or number of the layer whose activations are requested.
        output: File to save the model to; its suffix is ``.keras`` or ``.h5``.
        top: Number of trials to finalize.
        mixture: The model to save or to finalize; None for the trial's own.
    """

    results: Path
    study: str
    work: Literal["predict", "activations", "save", "finalize"]
    trial: int | None = None
    split: str | None = None
    layer: str = ""
    output: str = ""
    top: int = 1
    mixture: Mixture | None = None

    def write(self, folder: Path) -> None:
        """Write the request into a folder."""
        (folder / REQUEST).write_text(json.dumps(asdict(self) | {"results": str(self.results)}), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Request:
        """Read the request that :meth:`write` wrote."""
        values = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        mixture = None if values["mixture"] is None else Mixture.from_data(values["mixture"])
        return cls(**values | {"results": Path(values["results"]), "mixture": mixture})


@dataclass(frozen=True)
class Predictions:
    """Predictions of a trial's model for some images.

    Attributes:
        trial: Number of the trial.
        class_names: Names of the classes in the order of the labels.
        probabilities: Shape (n, classes).
        labels: Indices of the true classes, shape (n,); None if they are unknown.
        prepared: Folder of the prepared data set; None if it was not needed.
        losses: The trial's loss of each image without penalties, shape (n,); None except after ``finalize``.
        split: The split that has the images; empty if the user gave them.
        rows: Indices of the images in the split, shape (n,); None if they are all of it, in order.
    """

    trial: int
    class_names: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32] | None
    prepared: Path | None
    losses: npt.NDArray[np.float64] | None = None
    split: str = ""
    rows: npt.NDArray[np.int32] | None = None

    @property
    def predicted(self) -> npt.NDArray[np.intp]:
        """Index of the most likely class, shape (n,); the first of several."""
        best: npt.NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return best


def predict_split(results: Path, study: str, split: str, *, trial: int | None = None) -> Predictions:
    """Predict the images of one split of a study's data.

    Raises:
        StudyError: No such trial, or the split is the test set and still sealed.
        InputError: The data has no such split.
    """
    return _predictions(Request(results, study, "predict", trial, split=split))


def predict_images(
    results: Path, study: str, images: npt.NDArray[np.generic], *, trial: int | None = None
) -> Predictions:
    """Predict images, shape (n, height, width, channels), with values as in the study's data before rescaling."""
    return _predictions(Request(results, study, "predict", trial), images)


class Finalized(NamedTuple):
    """What ``finalize`` measured.

    Attributes:
        trials: The measured trials, the best first.
        metrics: The first one's test metrics.
        best: The first one's predictions of the test images.
    """

    trials: list[int]
    metrics: dict[str, float]
    best: Predictions


def finalize(results: Path, study: str, top: int, mixture: Mixture | None = None) -> Finalized:
    """Open the test set for the best trials, or for a model that was made of trials."""
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as name:
        found = _ask(Request(results, study, "finalize", top=top, mixture=mixture), Path(name))
        return Finalized(found["trials"], found["metrics"], _read_predictions(found, Path(name)))


def activations(
    results: Path, study: str, images: npt.NDArray[np.generic], layer: str, *, trial: int | None = None
) -> npt.NDArray[np.float32]:
    """Return a layer's output for images, shape (n, height, width, channels) or (n, units)."""
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as name:
        np.save(Path(name) / "images.npy", images)
        _ask(Request(results, study, "activations", trial, layer=layer), Path(name))
        found: npt.NDArray[np.float32] = np.load(Path(name) / "activations.npy")
        return found


def save_model(
    results: Path, study: str, output: Path, *, trial: int | None = None, mixture: Mixture | None = None
) -> int:
    """Save a model, by default a trial's, as a ``.keras`` or ``.h5`` file; return the number of its first trial."""
    request = Request(results, study, "save", trial, output=str(output.absolute()), mixture=mixture)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as name:
        number: int = _ask(request, Path(name))["trial"]
        return number


def _predictions(request: Request, images: npt.NDArray[np.generic] | None = None) -> Predictions:
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as name:
        if images is not None:
            np.save(Path(name) / "images.npy", images)
        return _read_predictions(_ask(request, Path(name)), Path(name))


def _read_predictions(found: dict[str, Any], folder: Path) -> Predictions:
    labels, losses, rows = (folder / f"{name}.npy" for name in ("labels", "losses", "rows"))
    return Predictions(
        trial=found["trial"],
        class_names=tuple(found["class_names"]),
        probabilities=np.load(folder / "probabilities.npy"),
        labels=np.load(labels) if labels.exists() else None,
        split=found["split"],
        prepared=Path(found["prepared"]),
        losses=np.load(losses) if losses.exists() else None,
        rows=np.load(rows) if rows.exists() else None,
    )


def _ask(request: Request, folder: Path) -> dict[str, Any]:
    """Send a request and return the answer; an error of the other process is raised here."""
    check_study(StudyPaths(request.results, request.study))
    request.write(folder)
    _answer(folder)
    found: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    if "error" in found:
        kind: Callable[[str], Exception] = getattr(errors, found["error"])
        raise kind(found["message"])
    return found


def _answer(folder: Path) -> None:
    """Run the process; its output goes to standard error."""
    command = [sys.executable, "-P", "-m", "cnn_sweep.execution.models.server", str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, env=environment, check=False)
    if done.returncode == Interrupted.exit_code:
        raise Interrupted("interrupted")
    if done.returncode != 0:
        raise EnvironmentFault(
            f"the process that works with the model ended with exit code {done.returncode}"
            + (": it was killed, perhaps because memory ran out" if done.returncode < 0 else "")
        )
