"""What the best model does with the validation images: its confusion matrix and its surest mistakes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_sweep.execution.models import client as models
from cnn_sweep.report.drawing.figure import SCALE, Figure, text
from cnn_sweep.report.drawing.pictures import thumbnails
from cnn_sweep.report.models.predictions import class_table, matrix_of, misclassified_rows, prediction_table
from cnn_sweep.training.data.dataset import items, load

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from cnn_sweep.execution.models.client import Predictions
    from cnn_sweep.report.leaderboards.leaderboard import Table

_WORST = 24
_SPLIT = "validation"
_MOST_NUMBERS = 30  # classes up to which each cell of the matrix shows its count


@dataclass(frozen=True)
class Mistake:
    """An image that is taken for another class.

    Attributes:
        picture: As a ``data:`` address.
        true: Its class.
        predicted: What it is taken for.
        probability: How sure the model is.
        name: Of the image.
    """

    picture: str
    true: str
    predicted: str
    probability: float
    name: str


@dataclass(frozen=True)
class BestModel:
    """One trial's model on the validation images.

    Attributes:
        trial: The trial's number.
        images: How many there are.
        wrong: How many of them are taken for another class.
        confusion: The confusion matrix.
        classes: Precision, recall and F1 of each class.
        mistakes: The surest ones.
    """

    trial: int
    images: int
    wrong: int
    confusion: Figure
    classes: Table
    mistakes: tuple[Mistake, ...]


def best_model(results: Path, study: str) -> BestModel:
    """Look at the best trial's model; predicting is done by a process of its own.

    Raises:
        CnnSweepError: There is no model, the images have no classes, or predicting failed.
    """
    found = models.predict_split(results, study, _SPLIT)
    rows = misclassified_rows(found)
    worst = rows[:_WORST]
    table = prediction_table(found, items(found.prepared, _SPLIT), rows=worst)
    pictures = thumbnails(load(found.prepared, splits=(_SPLIT,)).splits[_SPLIT].x[worst]) if worst else []
    mistakes = tuple(
        Mistake(_address(picture), row["true"], row["predicted"], row["probability"], str(row["image"]))
        for picture, row in zip(pictures, table.rows, strict=True)
    )
    count = len(found.probabilities)
    return BestModel(found.trial, count, len(rows), _confusion(found), class_table(found), mistakes)


def _confusion(found: Predictions) -> Figure:
    counts = matrix_of(found)
    names = [text(name) for name in found.class_names]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    trace = {"type": "heatmap", "x": names, "y": names, "z": shares.round(4).tolist(), "customdata": counts.tolist()}
    trace |= {"colorscale": SCALE, "zmin": 0, "zmax": 1, "colorbar": {"title": {"text": "share of the true class"}}}
    trace["hovertemplate"] = "%{y} taken for %{x}: %{customdata} images (%{z:.1%} of the true class)<extra></extra>"
    if len(names) <= _MOST_NUMBERS:
        trace |= {"text": [[str(count) for count in line] for line in counts.tolist()], "texttemplate": "%{text}"}
    axes = {
        "xaxis": {"title": {"text": "predicted class"}, "type": "category"},
        "yaxis": {"title": {"text": "true class"}, "type": "category", "autorange": "reversed"},
    }
    caption = (
        f"Validation images of trial {found.trial} by true and predicted class: counts, coloured by share of a row."
    )
    return Figure("confusion", "Confusion matrix", caption, (trace,), axes)


def _address(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
