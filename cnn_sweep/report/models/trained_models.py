"""A study's trained models at work, as tables: what Python is given where commands print."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_sweep.errors import InputError
from cnn_sweep.execution.models import client as models
from cnn_sweep.report.models.predictions import confusion_table, misclassified_rows, prediction_table
from cnn_sweep.report.models.requested_images import choose_images
from cnn_sweep.training.data.dataset import UNLABELLED, Item, items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cnn_sweep.report.leaderboards.leaderboard import Table


@dataclass(frozen=True)
class TrainedModels:
    """The models of one study; a trial is given by its number, or None for the best.

    Attributes:
        results: Root of all studies.
        study: The study's name.
    """

    results: Path
    study: str

    def confusion(self, trial: int | None, split: str, share: str | None) -> Table:
        """Count images by true and predicted class."""
        return confusion_table(models.predict_split(self.results, self.study, split, trial=trial), share=share)

    def misclassified(self, trial: int | None, split: str, true: str | None, predicted: str | None) -> Table:
        """List the images that are taken for another class."""
        found = models.predict_split(self.results, self.study, split, trial=trial)
        rows = misclassified_rows(found, true=true, predicted=predicted)
        return prediction_table(found, items(found.prepared, split), rows=rows)

    def predict(self, images: Sequence[str], trial: int | None) -> Table:
        """Predict image files and folders of them; the unlabelled images of the data if there are none."""
        if not images:
            found = models.predict_split(self.results, self.study, UNLABELLED, trial=trial)
            return prediction_table(found, items(found.prepared, UNLABELLED))
        chosen = choose_images(self.results, self.study, images)
        if chosen.bad:
            raise InputError("; ".join(f"{image.name}: {image.reason}" for image in chosen.bad))
        found = models.predict_images(self.results, self.study, chosen.x, trial=trial)
        return prediction_table(found, tuple(map(Item, chosen.names)))

    def load(self, trial: int | None) -> Any:
        """Load a model into this process, in which TensorFlow starts."""
        from cnn_sweep.training.evaluation.evaluate import load_model  # noqa: PLC0415 - nothing else here needs TensorFlow

        with tempfile.TemporaryDirectory(prefix="cnn-sweep-") as folder:
            file = Path(folder) / "model.keras"
            models.save_model(self.results, self.study, file, trial=trial)
            return load_model(file)
