from __future__ import annotations

from types import SimpleNamespace

import pytest

from cnn_sweep.errors import StudyError
from cnn_sweep.execution.models.model_files import model_file
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.outcome import Outcome

TEXT = """
study: own
data: {source: digits}
objective: {function: "own:train", metric: score}
"""


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome("complete"), "trial 0 has no model: its objective function returned none"),
        (
            Outcome("failed", "exception", "ValueError: no"),
            "trial 0 could not be trained again: ValueError: no",
        ),
        (Outcome("interrupted"), "trial 0 could not be trained again: interrupted"),
    ],
)
def test_a_trial_without_a_model_is_told_from_one_that_failed(tmp_path, outcome, message):
    """What did not go wrong is not reported as a failure."""
    (tmp_path / "own.py").write_text("def train(context):\n    return None\n", encoding="utf-8")
    study = StudyFolder.open_or_create(Sweep.parse(TEXT, source=str(tmp_path / "own.yaml"), folder=tmp_path), tmp_path)
    history = SimpleNamespace(trials={0: SimpleNamespace(number=0, params={}, seed=0, repeat=0)})
    trainer = SimpleNamespace(train=lambda *_, **__: outcome, export=lambda *_, **__: False)
    with pytest.raises(StudyError) as caught:
        model_file(study, history, 0, trainer)
    assert str(caught.value) == message
