"""Whether max pooling can be cheaper: other forms of it with the same gradient, and ReLU after pooling.

Non-overlapping windows of 3x3 over the bush network's largest feature map, one thread, forms in turn. ReLU and pooling
can be swapped without changing a bit, because the largest of values is the same before and after a monotone function;
its steps are timed in processor time, in turn with those of the sweep as it is.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import bare_engine
from op_table import CONFIGURATION
from results_page import write_section
from sweep_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 3
SHAPE = (10, 50, 50, 50)
FORMS = ("tf.nn.max_pool2d", "tf.nn.max_pool_with_argmax", "maximum of slices", "reduce_max of a reshaped map")
STEPS = ("a step of the bush network", "the same with ReLU after pooling")


def forms() -> dict[str, Callable]:
    """Return each form as a function that gives its gradient; windows with ties go to the first largest value."""
    import tensorflow as tf

    whole = SHAPE[1] // SIZE * SIZE

    def own(x):
        return tf.nn.max_pool2d(x, SIZE, SIZE, "VALID")

    @tf.custom_gradient
    def argmax(x):
        y, places = tf.nn.max_pool_with_argmax(x, SIZE, SIZE, "VALID", include_batch_in_index=True)

        def gradient(dy):
            size = tf.cast(tf.size(x)[None], tf.int64)
            return tf.reshape(tf.scatter_nd(tf.reshape(places, [-1, 1]), tf.reshape(dy, [-1]), size), tf.shape(x))

        return y, gradient

    @tf.custom_gradient
    def slices(x):
        parts = [x[:, i:whole:SIZE, j:whole:SIZE] for i in range(SIZE) for j in range(SIZE)]
        y = parts[0]
        for part in parts[1:]:
            y = tf.maximum(y, part)

        def gradient(dy):
            routed = []
            for part in parts:
                routed.append(tf.where(part == y, dy, 0.0))
                dy = tf.where(part == y, 0.0, dy)
            windows = tf.reshape(tf.stack(routed, axis=3), [-1, *y.shape[1:3], SIZE, SIZE, y.shape[3]])
            cut = tf.reshape(tf.transpose(windows, [0, 1, 3, 2, 4, 5]), [-1, whole, whole, y.shape[3]])
            return tf.pad(cut, [[0, 0], [0, x.shape[1] - whole], [0, x.shape[2] - whole], [0, 0]])

        return y, gradient

    def reshaped(x):  # ties share the gradient: not the same, and only timed
        windows = tf.reshape(x[:, :whole, :whole], [-1, whole // SIZE, SIZE, whole // SIZE, SIZE, SHAPE[3]])
        return tf.reduce_max(windows, axis=[2, 4])

    def gradient_of(pool):
        @tf.function
        def run(x, dy):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = pool(x)
            return tape.gradient(y, x, output_gradients=dy)

        return run

    return {name: gradient_of(pool) for name, pool in zip(FORMS, (own, argmax, slices, reshaped), strict=True)}


def steps(folder: Path) -> dict[str, Callable]:
    """Return what trains an epoch of the bush network, as it is and with ReLU after pooling."""
    case = CASES["bush"]
    first, dropout, pool, *rest = case.network.splitlines()[1:]
    swapped = [first.replace("activation: relu", "activation: linear"), dropout, pool, "    - activation: relu", *rest]
    found = {}
    for name, network in zip(STEPS, (case.network, "\n".join(["  layers:", *swapped])), strict=True):
        (folder / name).mkdir()
        replace(case, network=network).write(folder / name)
        found[name], count = bare_engine(folder / name, CONFIGURATION)
    assert count == case.images[0] // case.batch_size
    return found


def in_turn(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median processor time of each in ms; the first round compiles."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            found[name].append(1e3 * (time.process_time() - began))
    return {name: statistics.median(times[1:]) for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; prints, and writes nothing")
    parser.add_argument("--rounds", type=int, help="default: 100, or 2 with --quick")
    asked = parser.parse_args()
    rounds = asked.rounds or (2 if asked.quick else 100)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        epochs = steps(Path(place))
        import tensorflow as tf

        x = tf.nn.relu(tf.random.stateless_normal(SHAPE, seed=[0, 0]))
        dy = tf.random.stateless_normal((SHAPE[0], SHAPE[1] // SIZE, SHAPE[2] // SIZE, SHAPE[3]), seed=[0, 1])
        runs = {name: lambda run=run: run(x, dy).numpy() for name, run in forms().items()}
        same = {name: "yes" if (run() == runs[FORMS[0]]()).all() else "no" for name, run in runs.items()}
        times = in_turn(runs, rounds)
        count = CASES["bush"].images[0] // CASES["bush"].batch_size
        times |= {name: each / count for name, each in in_turn(epochs, rounds).items()}
    rows = []
    for name, each in times.items():
        base = times[FORMS[0] if name in FORMS else STEPS[0]]
        rows.append((name, f"{each:.2f}", f"{each / base:.2f}x", same.get(name, "")))
    note = f"Forward and gradient; medians of processor time, {rounds} rounds in turn, one thread."
    header = ("what", "ms", "takes", "same gradient")
    write_section("Forms of max pooling", header, rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
