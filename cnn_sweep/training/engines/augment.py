"""Random augmentation of images inside the graph, with amounts and seed as data of the graph.

Each image gets one affine map, as in Keras's ``ImageDataGenerator`` (``apply_affine_transform`` in
``keras/src/legacy/preprocessing/image.py``: rotation, shift, shear, zoom, in this order, then flips), sampled once with
bilinear interpolation. Two bugs of Keras 3.15 are not copied: it misplaces the centre of images that are not square,
and ``height_shift_range`` moves images sideways. The draws for the images of a step depend only on (seed, step).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    import numpy.typing as npt

    from cnn_sweep.sweep.spec.training import AugmentationSpec

    Images = npt.NDArray[np.generic]

# The order of amounts in arrays; the first seven need the affine map.
_AMOUNTS = (
    "rotation",
    "height_shift",
    "width_shift",
    "shear",
    "zoom",
    "horizontal_flip",
    "vertical_flip",
    "contrast",
    "brightness",
)
_AFFINE = 7
_ROUNDING = 1e-3  # pixels; tolerance of float32 at an edge
_DRAWS = 10  # per image: one for each amount, two for zoom


@dataclass(frozen=True)
class Augmentation:
    """The part of augmentation that all trials of one graph share.

    Attributes:
        fill: Pixels beyond an image's edge: ``nearest``, ``reflect`` or ``constant``.
        top: Largest pixel value, to which results are clipped; None if unknown.
    """

    fill: str
    top: float | None

    def apply(self, images: Any, amounts: Any, seed: Any) -> Any:
        """Augment each image with the random draws for its position in the batch.

        Args:
            images: Pixel values as stored, float32, shape (B, height, width, channels).
            amounts: Largest change of each kind, from `amounts_of`.
            seed: Seed of the draws, shape (2,), int64.
        """
        # (B, draws), each from -1 to 1
        shape = [tf.shape(images)[0], _DRAWS]
        draws = tf.random.stateless_uniform(shape, seed=seed, minval=-1.0, maxval=1.0, alg="philox")
        moved = tf.cond(
            tf.reduce_any(amounts[:_AFFINE] > 0),
            lambda: self._sampled(images, _affine(draws, amounts, images.shape)),
            lambda: tf.identity(images),
        )
        return tf.cond(
            tf.reduce_any(amounts[_AFFINE:] > 0),
            lambda: self._lit(moved, draws[:, 8:] * amounts[_AFFINE:]),
            lambda: tf.identity(moved),
        )

    def _sampled(self, images: Any, transforms: Any) -> Any:
        constant = self.fill == "constant"
        sampled = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=tf.shape(images)[1:3],
            fill_value=0.0,
            interpolation="BILINEAR",
            # TensorFlow blends the constant into pixels at the edge; SciPy, which Keras uses, does not.
            fill_mode="NEAREST" if constant else self.fill.upper(),
        )
        return tf.where(_from_within(transforms, images.shape), sampled, 0.0) if constant else sampled

    def _lit(self, images: Any, changes: Any) -> Any:
        """Change contrast, then brightness; ``changes`` has a column for each."""
        contrast, brightness = (1.0 + changes[:, k, tf.newaxis, tf.newaxis, tf.newaxis] for k in (0, 1))
        mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        lit = ((images - mean) * contrast + mean) * brightness
        return lit if self.top is None else tf.clip_by_value(lit, 0.0, self.top)


def _affine(draws: Any, amounts: Any, shape: Any) -> Any:
    """Return the source of each pixel as rows (a0, a1, a2, b0, b1, b2, 0, 0) of a projective map of (x, y)."""
    height, width = float(shape[1]), float(shape[2])
    middle_y, middle_x = height / 2.0 - 0.5, width / 2.0 - 0.5
    turn = draws[:, 0] * amounts[0] * (math.pi / 180.0)
    tilt = turn + draws[:, 3] * amounts[3] * (math.pi / 180.0)
    down, across = draws[:, 1] * amounts[1] * height, draws[:, 2] * amounts[2] * width
    zoom_x, zoom_y = 1.0 + draws[:, 4] * amounts[4], 1.0 + draws[:, 5] * amounts[4]
    # A flip is a factor of -1 about the centre, for half of the images.
    zoom_x *= tf.where((draws[:, 6] < 0.0) & (amounts[5] > 0.0), -1.0, 1.0)
    zoom_y *= tf.where((draws[:, 7] < 0.0) & (amounts[6] > 0.0), -1.0, 1.0)
    # rotation @ shear @ zoom, applied to (x, y) relative to the centre
    xx, xy = zoom_x * tf.cos(turn), -zoom_y * tf.sin(tilt)
    yx, yy = zoom_x * tf.sin(turn), zoom_y * tf.cos(tilt)
    shift_x = tf.cos(turn) * across - tf.sin(turn) * down + middle_x - xx * middle_x - xy * middle_y
    shift_y = tf.sin(turn) * across + tf.cos(turn) * down + middle_y - yx * middle_x - yy * middle_y
    zero = tf.zeros_like(turn)
    return tf.stack([xx, xy, shift_x, yx, yy, shift_y, zero, zero], axis=1)


def _from_within(transforms: Any, shape: Any) -> Any:
    """Return which pixels have their source inside the image, shape (B, height, width, 1)."""
    height, width = shape[1:3]
    y, x = tf.range(height, dtype=tf.float32)[:, tf.newaxis], tf.range(width, dtype=tf.float32)
    a0, a1, a2, b0, b1, b2 = (transforms[:, k, tf.newaxis, tf.newaxis] for k in range(6))

    def is_within(place: Any, size: int) -> Any:
        return (place > -_ROUNDING) & (place < size - 1 + _ROUNDING)

    return (is_within(a0 * x + a1 * y + a2, width) & is_within(b0 * x + b1 * y + b2, height))[..., tf.newaxis]


def amounts_of(spec: AugmentationSpec | None) -> npt.NDArray[np.float32]:
    """Return the amounts of augmentation as an array that a graph takes; all are 0 without augmentation."""
    return np.array([float(getattr(spec, name)) if spec else 0.0 for name in _AMOUNTS], np.float32)


def seed_of(seed: int) -> int:
    """Return the seed of a trial's augmentation: a signed 64-bit integer that differs from other seeds of the trial."""
    digest = hashlib.sha256(f"augmentation {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def top_of(images: Images) -> float | None:
    """Return the largest possible pixel value of stored images; None if unknown."""
    return 255.0 if images.dtype == np.uint8 else None


def variants(images: Images, spec: AugmentationSpec, *, seed: int, count: int) -> Images:
    """Return augmented images as training could see them, for display.

    Args:
        images: As stored, shape (n, height, width, channels).
        spec: The augmentation.
        seed: The same seed gives the same variants.
        count: Number of variants per image.

    Returns:
        Shape (n, count, height, width, channels), in the type of ``images``; uint8 values are rounded.
    """
    augmentation = Augmentation(spec.fill, top_of(images))
    stored, amounts = tf.constant(np.asarray(images), tf.float32), tf.constant(amounts_of(spec))
    seeds = [tf.constant([seed_of(seed), number], tf.int64) for number in range(count)]
    made = np.stack([augmentation.apply(stored, amounts, one).numpy() for one in seeds], axis=1)
    return made.round().astype(np.uint8) if images.dtype == np.uint8 else made.astype(images.dtype)
