"""Settings of a training process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import os, platform, sys
from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.training.session import configure, has_started, import_tensorflow
assert not has_started()
import_tensorflow(threads=1)
assert "tensorflow" in sys.modules and not has_started()
configure(threads=1)
assert has_started()
import keras, tensorflow as tf
assert keras.backend.backend() == "tensorflow"
assert not {"matplotlib", "pandas", "scipy", "sklearn"} & set(sys.modules)
import pandas, sklearn.datasets
assert platform.machine() != "x86_64" or os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
assert tf.config.threading.get_intra_op_parallelism_threads() == 1
assert tf.config.threading.get_inter_op_parallelism_threads() == 1
tf.constant(1.0) + 1.0
configure(threads=1)
try:
    configure(threads=2)
except EnvironmentFault as error:
    assert "cannot be limited to 2 threads" in str(error), error
else:
    sys.exit("a running TensorFlow was given other threads")
"""


FOR_THE_USERS_CODE = """
import sys
from cnn_sweep.training.session import configure
configure(threads=1, whole_keras=True)
import keras
keras.wrappers.SKLearnClassifier(model=keras.Sequential())
"""


@pytest.fixture(scope="module")
def finished():
    """A process that configured itself, started TensorFlow, and tried to change its mind."""
    command = [sys.executable, "-c", CODE]
    unset = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    return subprocess.run(command, env=unset, check=False, timeout=120, capture_output=True, encoding="utf-8")


def test_threads_are_set_once_and_before_tensorflow_starts(finished):
    """The same settings again are fine; others come too late and say so."""
    assert finished.returncode == 0, finished.stderr


def test_onednn_is_used_unless_the_user_says_otherwise(finished):
    """TensorFlow by itself leaves it off where processors lack AVX-512."""
    assert finished.returncode == 0, finished.stderr
    code = "import os; from cnn_sweep.training.session import import_tensorflow; import_tensorflow(threads=1)"
    code += "; assert os.environ['TF_ENABLE_ONEDNN_OPTS'] == '0'"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "0"}, check=True)


def test_nothing_is_written_to_the_terminal(finished):
    """TensorFlow's notes on drivers and instruction sets do not reach the user."""
    assert finished.stdout == ""
    assert finished.stderr == ""


def test_code_of_the_users_finds_all_of_keras():
    """Where it may run, Keras is imported with everything that is installed."""
    subprocess.run([sys.executable, "-c", FOR_THE_USERS_CODE], check=True, timeout=120)
