"""Files of pretrained weights, and their download; imports no TensorFlow, since login nodes need it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_sweep.errors import EnvironmentFault, SettingError
from cnn_sweep.sweep.network.layers import Base
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.sweep.space.grid import sample_configurations
from cnn_sweep.sweep.sweep import InvalidTrialError
from cnn_sweep.training.data.benchmark_sets import download, keras_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.sweep.sweep import Sweep


def weights_file(base: Base) -> Path | None:
    """Return the file of a base's weights, whether or not it exists; None if they are random."""
    if base.weights == "none":
        return None
    if base.weights == "imagenet":
        return keras_folder() / "models" / pretrained()[base.name].file[0]
    return Path(base.weights)


def require_weights(base: Base) -> Path | None:
    """Return the file of a base's weights; None if they are random.

    Raises:
        InputError: The user's file does not exist.
        EnvironmentFault: The pretrained weights were not downloaded.
    """
    file = weights_file(base)
    if file is None or file.is_file():
        return file
    if base.weights == "imagenet":
        raise EnvironmentFault(
            f"the pretrained weights of {base.name} are missing: {file} does not exist. Run "
            "`cnn-sweep data prepare SWEEP.yaml` on a machine with internet to download them"
        )
    message = f"base {base.name}: weights: {file}: no such file (valid: imagenet, none, or a file)"
    raise SettingError(message, ("model", "layers", 0, "base", "weights"))


def bases_of(sweep: Sweep) -> Iterator[Base]:
    """Yield each base that some configuration of a sweep uses, once."""
    seen: set[Base] = set()
    is_grid = sweep.search.method == "grid"
    listed = sweep.grid.rows if sweep.search.method == "table" else None
    for params in listed or sample_configurations(sweep.space, sweep.constraints, grid=is_grid):
        try:
            layers = sweep.resolve(params).layers
        except InvalidTrialError:
            continue
        if layers and isinstance(layers[0], Base) and layers[0] not in seen:
            seen.add(layers[0])
            yield layers[0]


def fetch_weights(sweep: Sweep) -> list[Path]:
    """Download the pretrained weights that a sweep needs, and return all its weights files.

    Raises:
        InputError: The user's file does not exist.
        EnvironmentFault: Weights cannot be downloaded.
    """
    files = []
    for base in bases_of(sweep):
        file = weights_file(base)
        if base.weights == "imagenet" and file is not None and not file.is_file():
            _download(base.name)
        files.append(require_weights(base))
    return [file for file in files if file is not None]


def _download(name: str) -> None:
    file, address, checksum = pretrained()[name].file
    code = f"import keras; keras.utils.get_file({file!r}, {address!r}, cache_subdir='models', file_hash={checksum!r})"
    if (words := download(code)) is not None:
        raise EnvironmentFault(f"the weights of {name} cannot be downloaded from {address}: {words}")
