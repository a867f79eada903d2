"""Images and labels as tensors, without a copy if the graphs run on the CPU.

All workers of a node map the files of a prepared data set into memory. The operating system shares the pages among
them, reads a page on first use, and drops pages when memory is short. Therefore a worker's own memory does not grow
with the data, and the data may be larger than the memory.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from cnn_sweep.training.engines.augment import top_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.sweep.network.shapes import ImageInfo
    from cnn_sweep.training.data.dataset import Dataset, Split

ON_GPU_BYTES = 2**30  # each worker copies data up to this size to GPU memory; larger data stay in CPU memory
_ALIGNMENT = 64  # bytes; TensorFlow aligns its own tensors to multiples of it


@dataclass(frozen=True)
class DeviceSplit:
    """Images and labels as tensors.

    Attributes:
        x: Shape (n, height, width, channels), as stored.
        y: Shape (n,), int32.
        host: Whether the images are in CPU memory.
    """

    x: Any
    y: Any
    host: bool

    @classmethod
    def of(cls, split: Split, *, host: bool) -> DeviceSplit:
        """Map a split, or copy it to the device of the graphs."""
        return cls(
            _mapped(split.x) if host else tf.constant(np.asarray(split.x)), tf.constant(np.asarray(split.y)), host
        )

    def images(self, index: Any) -> Any:
        """Return the images at these indices, as float32."""
        if not self.host:
            return tf.cast(tf.gather(self.x, index), tf.float32)
        with tf.device("CPU:0"):
            chosen = tf.gather(self.x, index)
        return tf.cast(chosen, tf.float32)


@dataclass(frozen=True)
class DeviceData:
    """The images that all graphs of a worker share.

    Attributes:
        info: Shape of an image and names of the classes.
        train: Training images.
        validation: Validation images, if any; with cross-validation the same tensors as ``train``.
        rescale: Factor by which stored pixel values are multiplied.
        top: Largest possible stored pixel value; None if unknown.
    """

    info: ImageInfo
    train: DeviceSplit
    validation: DeviceSplit | None
    rescale: float
    top: float | None

    @classmethod
    def of(cls, dataset: Dataset) -> DeviceData:
        """Map a data set, or copy it to the device of the graphs."""
        validating = None if dataset.folds is not None else dataset.validation
        splits = [split for split in (dataset.train, validating) if split is not None]
        gpu = bool(tf.config.list_physical_devices("GPU"))
        host = not gpu or sum(split.x.nbytes for split in splits) > ON_GPU_BYTES
        train, *rest = (DeviceSplit.of(split, host=host) for split in splits)
        validation = train if dataset.folds is not None else rest[0] if rest else None
        return cls(dataset.info, train, validation, dataset.rescale, top_of(dataset.train.x))


def _mapped(x: npt.NDArray[np.generic]) -> Any:
    """Return a tensor of images, which shares the pages of a mapped file.

    TensorFlow accepts only writable memory, so the file is mapped again, copy-on-write. Nothing writes to it.
    """
    file: Any = getattr(x, "base", None)  # for a slice, the array it was cut from
    if not isinstance(x, np.memmap) or not isinstance(file, mmap.mmap) or not x.flags.c_contiguous or not x.size:
        return tf.constant(np.asarray(x))
    name: Any = x.filename
    private = np.memmap(name, dtype=x.dtype, mode="c", offset=x.offset, shape=x.shape)
    if private.ctypes.data % _ALIGNMENT:
        return tf.constant(np.asarray(x))
    return tf.experimental.dlpack.from_dlpack(private.__dlpack__())
