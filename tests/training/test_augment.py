"""Augmentation is Keras's, is drawn by seed, and is data of the graph."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.outcomes import assert_equal, resumed

from cnn_sweep.sweep.spec.training import AugmentationSpec

ALL = {
    "rotation": 40,
    "width_shift": 0.2,
    "height_shift": 0.1,
    "shear": 20,
    "zoom": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "brightness": 0.3,
    "contrast": 0.3,
}


def smooth_images(count=3, size=(28, 28), channels=2):
    """Return images without sharp edges, so that interpolation by another formula gives nearly the same."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [100 + 50 * np.sin(y / (3 + k)) + 50 * np.cos(x / (4 + c)) for k in range(count) for c in range(channels)]
    return np.stack(waves).reshape(count, channels, *size).transpose(0, 2, 3, 1).astype(np.float32)


def by_keras(image, spec, draws, fill):
    """Apply Keras's own affine map and flips for the draws (each from -1 to 1) of one image."""
    from keras.src.legacy.preprocessing.image import apply_affine_transform

    moved = apply_affine_transform(
        image,
        theta=draws[0] * spec.rotation,
        tx=draws[2] * spec.width_shift * image.shape[1],
        ty=draws[1] * spec.height_shift * image.shape[0],
        shear=draws[3] * spec.shear,
        zx=1 + draws[4] * spec.zoom,
        zy=1 + draws[5] * spec.zoom,
        row_axis=0,
        col_axis=1,
        channel_axis=2,
        fill_mode=fill,
    )
    moved = moved[:, ::-1] if draws[6] < 0 and spec.horizontal_flip else moved
    return moved[::-1] if draws[7] < 0 and spec.vertical_flip else moved


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # Keras's old code, in scipy's old words
@pytest.mark.parametrize("fill", ["nearest", "reflect", "constant"])
def test_the_affine_map_is_that_of_keras(fill):
    """For every combination of turn, shift, shear, zoom and flip pixels agree with ImageDataGenerator's."""
    import tensorflow as tf

    from cnn_sweep.training.engines.augment import seed_of, variants

    spec = AugmentationSpec(**{**ALL, "brightness": 0, "contrast": 0, "fill": fill})
    images = smooth_images()
    made = variants(images, spec, seed=4, count=6)
    assert made.shape == (3, 6, 28, 28, 2)
    flips = set()
    for k in range(6):
        seed = tf.constant([seed_of(4), k], tf.int64)
        draws = tf.random.stateless_uniform([3, 10], seed=seed, minval=-1.0, maxval=1.0, alg="philox").numpy()
        flips |= {(row[6] < 0, row[7] < 0) for row in draws}
        for image, ours, row in zip(images, made[:, k], draws, strict=True):
            theirs = by_keras(image, spec, row.astype(np.float64), fill)
            assert np.abs(ours - theirs).max() < 0.01, (k, row)
            assert (fill == "constant") == ((theirs == 0).any())
    assert len(flips) == 4


def test_an_image_that_is_only_flipped_keeps_its_edges():
    """With a constant fill no pixel of an image is lost to rounding at its edges."""
    from cnn_sweep.training.engines.augment import variants

    images = smooth_images(size=(9, 31)) + 1
    made = variants(
        images, AugmentationSpec(horizontal_flip=True, vertical_flip=True, fill="constant"), seed=0, count=9
    )
    flips = (images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1])
    for k in range(9):
        for number, one in enumerate(made[:, k]):
            assert min(np.abs(one - flip[number]).max() for flip in flips) < 1e-3


def test_images_that_are_no_squares():
    """A shift moves the axis that it names by a share of it, and a flip is about the middle."""
    from cnn_sweep.training.engines.augment import variants

    image = np.zeros((1, 8, 40, 1), np.uint8)
    image[0, 4, 20] = 255
    for name, axis, most in (("width_shift", 1, 20), ("height_shift", 0, 4)):
        made = variants(image, AugmentationSpec(**{name: 0.5, "fill": "constant"}), seed=0, count=40)[0, ..., 0]
        places = [np.argwhere(one == one.max())[0] for one in made if one.any()]
        assert all(place[1 - axis] == (20, 4)[axis] for place in places)
        moves = [abs(place[axis] - (4, 20)[axis]) for place in places]
        assert 0.7 * most <= max(moves) <= most
    flipped = variants(image, AugmentationSpec(horizontal_flip=True, vertical_flip=True), seed=0, count=40)[0, ..., 0]
    assert {tuple(np.argwhere(one)[0]) for one in flipped} == {(4, 20), (3, 20), (4, 19), (3, 19)}


def test_contrast_and_brightness():
    """Contrast is about each channel's mean, brightness a factor, and a byte's values stay in its range."""
    from cnn_sweep.training.engines.augment import variants

    images = smooth_images().astype(np.uint8)
    bright = variants(images, AugmentationSpec(brightness=1.0), seed=0, count=20)
    assert bright.dtype == np.uint8
    factors = bright.mean(axis=(2, 3, 4)) / images.mean(axis=(1, 2, 3))[:, None]
    assert factors.min() < 0.3
    assert 1.2 < factors.max() < 2.0  # cut at 255
    floats = images.astype(np.float32)
    flat = variants(floats, AugmentationSpec(contrast=1.0), seed=0, count=20)
    np.testing.assert_allclose(flat.mean(axis=(2, 3)), floats.mean(axis=(1, 2))[:, None].repeat(20, 1), rtol=1e-4)
    spread = flat.std(axis=(2, 3)) / floats.std(axis=(1, 2))[:, None]
    assert spread.min() < 0.3
    assert spread.max() > 1.7


def test_variants_follow_from_the_seed():
    """The same seed shows the same variants, another one others; each of an image's differs."""
    from cnn_sweep.training.engines.augment import variants

    images, spec = smooth_images().astype(np.uint8), AugmentationSpec(**ALL)
    one = variants(images, spec, seed=1, count=3)
    np.testing.assert_array_equal(one, variants(images, spec, seed=1, count=3))
    assert (one != variants(images, spec, seed=2, count=3)).any()
    assert (one[:, 0] != one[:, 1]).any()


def test_augmented_training_resumes_exactly(spec, dataset, recorder):
    """A trial that is stopped at every second step draws what an undisturbed one draws."""
    from cnn_sweep.training.trial.trainer import Trainer

    trial, trainer = spec(epochs=3, augmentation=ALL), Trainer(dataset, chunk_s=0.0)
    whole = trainer.train(trial, 5, recorder())
    assert_equal(resumed(trainer, trial, 5, polls=2, attempts=50), whole)


def test_amounts_are_data_of_the_graph(spec, dataset, recorder):
    """Another amount compiles nothing; amounts of 0 give the bits of no augmentation; each matters."""
    from cnn_sweep.training.trial.trainer import Trainer

    plain = Trainer(dataset).train(spec(), 0, recorder()).history
    trainer = Trainer(dataset)
    assert trainer.train(spec(augmentation={}), 0, recorder()).history == plain
    seen = [plain]
    for name, amount in ALL.items():
        seen.append(trainer.train(spec(augmentation={name: amount}), 0, recorder()).history)
    assert all(one != other for k, one in enumerate(seen) for other in seen[:k])
    assert (trainer.misses, trainer.hits) == (1, len(ALL))
    trainer.train(spec(augmentation={"fill": "reflect"}), 0, recorder())
    assert trainer.misses == 2


def test_validation_images_are_left_alone(spec, dataset, recorder):
    """With a rate of next to nothing the validation loss is that of no augmentation."""
    from cnn_sweep.training.trial.trainer import Trainer

    still = {"name": "sgd", "learning_rate": 1e-30}
    plain = Trainer(dataset).train(spec(optimizer=still), 0, recorder()).history[-1]
    moved = Trainer(dataset).train(spec(optimizer=still, augmentation=ALL), 0, recorder()).history[-1]
    assert moved["val_loss"] == plain["val_loss"]
    assert moved["loss"] != plain["loss"]
