"""What a trial keeps of its predictions gives the metrics that it reported, and needs no model."""

from __future__ import annotations

import numpy as np
import pytest

from cnn_sweep.sweep.spec.metrics import CLASS_METRICS, MORE_METRICS
from cnn_sweep.training.evaluation.metrics import all_metrics

COUNTED = {"accuracy", "macro_f1", "balanced_accuracy", "kappa", "mcc"}  # and all of precision, recall and F1


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_of_kept_predictions_are_those_that_were_reported(classes, spec, datasets, recorder):
    """Those that count images exactly; those of probabilities within what 16 bits allow."""
    from cnn_sweep.training.trial.trainer import Trainer

    names = tuple(dict.fromkeys([*(one.name for one in MORE_METRICS), *CLASS_METRICS]))
    trial = spec(epochs=3, metrics=names, optimizer={"learning_rate": 0.02})
    dataset = datasets(classes)
    outcome = Trainer(dataset).train(trial, 0, recorder())
    kept = outcome.predictions
    assert (kept.epoch, kept.split, kept.logs.dtype) == (outcome.best_epoch, "validation", np.float16)
    np.testing.assert_array_equal(kept.labels, dataset.validation.y)
    reported = outcome.history[kept.epoch - 1]
    again = all_metrics(kept.labels, kept.probabilities, "val_", names, kept.class_names)
    assert len(again) > 15
    for name, value in again.items():
        bare = name.removeprefix("val_")
        if bare in COUNTED or any(word in bare for word in CLASS_METRICS):
            assert reported[name] == value, name
        else:
            assert reported[name] == pytest.approx(value, abs=2e-3), name
    assert reported["val_log_loss"] == pytest.approx(again["val_log_loss"], rel=2**-10)


def test_the_images_of_a_smaller_validation_are_named(spec, dataset, recorder):
    """With ``validation_steps``, the rows say which images were evaluated."""
    from cnn_sweep.training.trial.trainer import Trainer

    trainer = Trainer(dataset)
    kept = trainer.train(spec(epochs=1, validation_steps=1), 0, recorder()).predictions
    assert len(kept.rows) == 8
    np.testing.assert_array_equal(kept.labels, dataset.validation.y[kept.rows])
    trainer.keeps_predictions = False
    assert trainer.train(spec(epochs=1), 0, recorder()).predictions is None
