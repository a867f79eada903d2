"""A process that trains many networks does not grow.

``make leaks`` trains 500 trials of 16 shapes; here it is a short form of that.
"""

from __future__ import annotations

import os

from cnn_sweep.execution.worker.memory_growth import own_bytes

TRIALS = int(os.environ.get("CNN_SWEEP_LEAK_TRIALS", "40"))
SHAPES = 16 if TRIALS > 100 else 6
WARM = 20 if TRIALS > 100 else 10
# Graphs are kept for fewer shapes than there are, so that building and forgetting them is part of the test.
GRAPHS = SHAPES // 2


def test_a_warm_worker_does_not_grow(spec, dataset, recorder):
    """Memory after all trials is within a fifth of what it was when the worker was warm."""
    from cnn_sweep.training.trial.trainer import Trainer

    trainer = Trainer(dataset, max_graphs=GRAPHS)
    warm = 0
    for number in range(TRIALS):
        # First one of each shape, until the worker is warm; then runs of five, as workers are handed them.
        filters = 4 + (number if number < WARM else number // 5) % SHAPES
        layers = ({"kind": "conv2d", "filters": filters, "kernel_size": 3}, {"kind": "flatten"}, {"kind": "output"})
        outcome = trainer.train(spec(layers, epochs=1), number, recorder())
        assert outcome.state == "complete", outcome.message
        if number + 1 == WARM:
            warm = own_bytes()
    now = own_bytes()
    print(f"{warm / 1e6:.0f} MB after {WARM} trials, {now / 1e6:.0f} MB after {TRIALS}; {trainer.misses} graphs")
    assert now <= 1.2 * warm
    assert trainer.misses >= TRIALS // 5
