"""Where a training step of the bush network goes: time by type of operation, on one thread.

TensorFlow's profiler records the operations of a few epochs of the project's own graph. With one thread they run one
after the other, so their times add up to the step's, but for what the executor does between them. An operation's time
is the median over the steps, because other processes may interrupt some of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import bare_engine
from results_page import write_section
from sweep_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIGURATION = {"dropout": 0.25, "filters": 20, "optimizer": "adam", "learning_rate": 0.001}
SMALL = 0.005  # share of a step below which an operation goes into the last row


def traced(run: Callable[[], object]) -> dict[str, list[float]]:
    """Return the seconds of each call, by name and type of the operation, as in ``while/conv:Conv2D``."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        with tf.profiler.experimental.Profile(place):
            run()
        (file,) = Path(place).rglob("*.xplane.pb")
        planes = XSpace.FromString(file.read_bytes()).planes
    found = defaultdict(list)
    for plane in planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            if name.startswith("while/"):
                found[name].append(event.duration_ps / 1e12)
    return found


def by_type(calls: dict[str, list[float]], steps: int) -> dict[str, tuple[float, float]]:
    """Return calls and seconds of each type of operation in one step."""
    found: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for name, seconds in calls.items():
        kind, number = name.rpartition(":")[2].removeprefix("_MklNative"), len(seconds) / steps
        count, total = found[kind]
        found[kind] = (count + number, total + number * statistics.median(seconds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one epoch; prints, and writes nothing")
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args()
    epochs = 1 if asked.quick else asked.epochs
    plain, calls = [], defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="cnn-sweep-bench-") as place:
        CASES["bush"].write(Path(place))
        train, steps = bare_engine(Path(place), CONFIGURATION)
        train()  # compiles
        for _ in range(epochs):
            began = time.perf_counter()
            train()
            plain.append((time.perf_counter() - began) / steps)
            for name, seconds in traced(train).items():
                calls[name] += seconds
    types = by_type(calls, epochs * steps)
    whole = sum(seconds for _, seconds in types.values())
    rest = [kind for kind, (_, seconds) in types.items() if seconds < SMALL * whole]
    shown = {kind: found for kind, found in types.items() if kind not in rest}
    shown = dict(sorted(shown.items(), key=lambda item: -item[1][1]))
    shown[f"{len(rest)} others"] = sum(types[kind][0] for kind in rest), sum(types[kind][1] for kind in rest)
    rows = [
        (kind, f"{count:.1f}", f"{1e3 * seconds:.3f}", f"{seconds / whole:.1%}")
        for kind, (count, seconds) in shown.items()
    ]
    note = (
        f"The bush network with {CONFIGURATION['filters']} filters and dropout {CONFIGURATION['dropout']}, batches of "
        f"{CASES['bush'].batch_size}, one thread, {epochs} epochs. Operations together: {1e3 * whole:.2f} ms a step; "
        f"a step that is not recorded: {1e3 * statistics.median(plain):.2f} ms."
    )
    header = ("operation", "calls/step", "ms/step", "share")
    write_section("Operations of a training step", header, rows, note=note, quick=asked.quick)


if __name__ == "__main__":
    main()
