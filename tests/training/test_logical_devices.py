"""Networks on another device than the data, without a GPU: TensorFlow cuts the CPU into two logical devices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path
from cnn_sweep.training.session import configure
configure(threads=1)
import tensorflow as tf
part = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [part, part])
from helpers.outcomes import Recorder, assert_equal
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.data.dataset import load
from cnn_sweep.training.data.prepare import prepare
from cnn_sweep.training.trial.trainer import Trainer

sweep = Sweep.parse('''
study: devices
data: {source: digits}
model: {layers: [{conv2d: {filters: 2, kernel_size: 3}}, {dropout: 0.3}, flatten, output: softmax]}
training: {epochs: 2, batch_size: 32, augmentation: {rotation: 5}}
''')
dataset = load(prepare(sweep.data, Path(), Path(sys.argv[1])))

def trained_on(device):
    with tf.device(device):
        trainer = Trainer(dataset)
        outcome = trainer.train(sweep.resolve({}), 0, Recorder())
    (engine,) = trainer._engines.values()
    places = {variable.value.device[-5:] for variable in engine._model.variables}
    assert (places, trainer._data.train.x.device[-5:]) == ({device}, "CPU:0"), places
    assert outcome.state == "complete", outcome.message
    return outcome

assert_equal(trained_on("CPU:1"), trained_on("CPU:0"))
"""


def test_a_network_on_another_device_than_the_data_has_the_same_results(tmp_path):
    """Weights and optimizer are on the device, images stay in the host's memory, and no bit differs."""
    helpers = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.append({helpers!r})\n{CODE}"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
