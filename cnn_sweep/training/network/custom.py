"""Functions of the user's, named ``module:function`` in a sweep file; ``build`` makes a model."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from cnn_sweep.errors import InputError
from cnn_sweep.training.network.user_code import is_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import numpy as np
    import numpy.typing as npt

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.sweep.spec.trial import TrialSpec

_ROUNDING = 1e-3  # of numbers of 16 bits


def load_function(reference: str, folder: Path) -> Callable[..., Any]:
    """Return the function that ``module:function`` names.

    Args:
        reference: Name of a module and of a function in it; the module is a file in ``folder``, or installed.
        folder: Folder of the sweep file.

    Raises:
        InputError: There is no such module or function, or the module cannot be imported.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise InputError(f"{reference!r} must have the form module:function")
    module = _import(module_name, folder, reference)
    function = getattr(module, name, None)
    if not callable(function):
        callables = sorted(k for k, v in vars(module).items() if callable(v) and not k.startswith("_"))
        raise InputError(
            f"{reference}: {module_name} has no function {name!r}; it has {', '.join(callables) or 'none'}"
        )
    return function  # type: ignore[no-any-return]  # callable() has checked it


# Folders of users' modules on the path of this process: one at a time, so that studies do not find each other's.
_entered: list[str] = []


def _enter(folder: str) -> None:
    """Find modules in a folder first, as Python does in a script's own, and no more in another study's."""
    if _entered != [folder]:
        for name, module in list(sys.modules.items()):
            if any(is_of(Path(other), name, getattr(module, "__file__", None)) for other in _entered):
                del sys.modules[name]
        sys.path[:] = [path for path in sys.path if path not in _entered]
        _entered[:] = [folder]
    sys.path[:] = [folder, *(path for path in sys.path if path != folder)]


def _import(name: str, folder: Path, reference: str) -> ModuleType:
    folder = folder.resolve()
    _enter(str(folder))
    loaded = sys.modules.get(name)
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    if file.exists() and loaded is not None and getattr(loaded, "__file__", None) != str(file):
        # A module of ours, or of a package, has the name of the user's.
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{reference}: the module {name!r} cannot be imported from {folder}: {type(error).__name__}: {error}"
        ) from error


def build_model(spec: TrialSpec, seed: int, info: ImageInfo, folder: Path) -> Any:
    """Call the user's ``build(params, image_shape, classes)`` with all random sources seeded.

    Raises:
        InputError: There is no such function, or it does not return a built Keras model.
    """
    reference = spec.build or ""
    build = load_function(reference, folder)
    keras.utils.set_random_seed(seed)
    model = build(dict(spec.params), info.image_shape, info.classes)
    if not isinstance(model, keras.Model):
        raise InputError(f"{reference} must return a keras.Model, but returned {type(model).__name__}")
    if not model.built:
        model(keras.ops.zeros((1, *info.image_shape)))
    return model


def to_probabilities(model: Any) -> Any:
    """Return what makes probabilities of a model's outputs: nothing, unless it came compiled with a loss of logits."""
    loss = model.loss if model.compiled else None
    if not getattr(loss, "from_logits", False):
        return keras.activations.linear
    binary = isinstance(loss, keras.losses.BinaryCrossentropy | keras.losses.BinaryFocalCrossentropy)
    return keras.activations.sigmoid if binary else keras.activations.softmax


def check_probabilities(outputs: npt.NDArray[np.float32], made_by: str) -> None:
    """See that the outputs of a network are probabilities; NaN is another matter.

    Args:
        outputs: Shape (n, units).
        made_by: Who is to mend it.

    Raises:
        InputError: Some are beyond 0 and 1.
    """
    if not len(outputs) or not (outputs.min() < -_ROUNDING or outputs.max() > 1.0 + _ROUNDING):
        return
    activation = "sigmoid" if outputs.shape[1] == 1 else "softmax"
    raise InputError(
        f"{made_by}: the network must give probabilities, but gives numbers from {outputs.min():.4g} to "
        f"{outputs.max():.4g}: end it with activation={activation!r}; or take engine: fit, and compile the model with "
        "a loss of from_logits=True"
    )
