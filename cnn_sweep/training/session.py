"""TensorFlow settings of a whole process, which must be set before its first operation."""

from __future__ import annotations

import gc
import importlib
import os
import platform
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterator

# Keras imports these if they are installed, which takes half of its start-up time. Only the user's code might need
# them: wrappers for scikit-learn, image galleries, `fit` on data frames, displays in notebooks.
_OPTIONAL = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")


def configure(threads: int, *, gpu_memory_mb: int | None = None, whole_keras: bool = False) -> None:
    """Prepare this process for training: threads, log level, and GPU memory that grows.

    Call it before anything imports ``keras`` or ``tensorflow``. With ``threads=1``, a run on a CPU is repeatable
    bit for bit.

    Args:
        threads: CPU threads that TensorFlow may use, at least 1.
        gpu_memory_mb: Memory of each GPU that this process may use; None lets it grow as needed.
        whole_keras: Whether Keras may import its optional packages, which the user's code may expect.

    Raises:
        EnvironmentFault: TensorFlow has already started with other settings.
    """
    import_tensorflow(threads, whole_keras=whole_keras)
    tf, keras = (importlib.import_module(name) for name in ("tensorflow", "keras"))
    with _without_native_log():
        gpus = tf.config.list_physical_devices("GPU")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        for gpu in gpus:
            if gpu_memory_mb is None:
                tf.config.experimental.set_memory_growth(gpu, enable=True)
            else:
                share = tf.config.LogicalDeviceConfiguration(memory_limit=gpu_memory_mb)
                tf.config.set_logical_device_configuration(gpu, [share])
    except RuntimeError as error:
        raise EnvironmentFault(
            f"TensorFlow is already running in this process, so it cannot be limited to {threads} threads: {error}"
        ) from error
    # Suppresses warnings about retracing: each network has its own graph on purpose.
    tf.get_logger().setLevel("ERROR")
    # A user's ~/.keras/keras.json must not change what a sweep computes.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def import_tensorflow(threads: int, *, whole_keras: bool = False) -> None:
    """Import TensorFlow and Keras; neither TensorFlow's runtime nor CUDA starts, so the process can be forked.

    Args:
        threads: CPU threads that TensorFlow may use, as some libraries learn from a variable when they are loaded.
        whole_keras: Whether Keras may import its optional packages, which the user's code may expect.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if platform.machine() == "x86_64":
        # By itself TensorFlow uses oneDNN only where there is AVX-512; elsewhere it saves 30 to 40% of the time, too.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _without_native_log(), _hidden(() if whole_keras else _OPTIONAL), _uncollected():
        # Imported here, so that importing this module does not import TensorFlow.
        importlib.import_module("tensorflow")
        importlib.import_module("keras")


def has_started() -> bool:
    """Return whether TensorFlow has looked at its devices or runs; a process that is forked then cannot use it."""
    context = sys.modules.get("tensorflow.python.eager.context")
    return context is not None and context.context_safe() is not None


@contextmanager
def _hidden(packages: tuple[str, ...]) -> Iterator[None]:
    """Make packages look as if they were not installed, unless they are already loaded."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Import without garbage collection, and exclude the imported objects, which stay, from later collections."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def _without_native_log() -> Iterator[None]:
    """Suppress what native code writes to standard error, unless the block fails.

    TensorFlow mentions oneDNN and missing GPU drivers before its log level takes effect.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
