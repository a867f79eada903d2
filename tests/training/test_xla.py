"""Steps that XLA compiles, as they are on GPUs."""

from __future__ import annotations

import pytest


def test_xla_computes_the_same(spec, dataset, recorder, monkeypatch):
    """Losses are those without it: whole batches and the rest after them, dropout, an adaptive optimizer."""
    from cnn_sweep.training.engines import graph_engine as graph
    from cnn_sweep.training.trial.trainer import Trainer

    layers = ({"kind": "flatten"}, {"kind": "dropout", "rate": 0.25}, {"kind": "output"})
    trial = spec(layers, optimizer={"name": "adam", "learning_rate": 0.01}, label_smoothing=0.1)
    assert not graph.uses_xla()
    plain = Trainer(dataset).train(trial, 0, recorder())
    monkeypatch.setattr(graph, "uses_xla", lambda: True)
    compiled = Trainer(dataset).train(trial, 0, recorder())
    assert compiled.state == "complete", compiled.message
    for one, other in zip(plain.history, compiled.history, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
