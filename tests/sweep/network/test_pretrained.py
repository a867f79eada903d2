"""Pretrained bases on a login node: sizes and counts of weights without TensorFlow, and clear refusals."""

from __future__ import annotations

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.sweep.network.layers import Base, Conv2D, Dense, Flatten, GlobalPool, Output, Pool
from cnn_sweep.sweep.network.pretrained import pretrained
from cnn_sweep.sweep.network.shapes import ImageInfo, InvalidNetwork, infer_shapes
from cnn_sweep.sweep.sweep import Sweep
from cnn_sweep.training.session import configure

TEXT = """
study: dogs
data: {source: digits}
model:
  layers:
    - base: {name: $base, weights: none, trainable: $trainable}
    - flatten
    - output: {activation: sigmoid, units: 1}
space:
  base: [VGG16]
  trainable: [false, block3_conv1]
training: {epochs: 1}
"""
HEAD = (Flatten(), Dense(units=256, activation="relu"), Output(activation="sigmoid", units=1))


def images(height, width, channels):
    """Return what is known of images of two classes."""
    return ImageInfo(image_shape=(height, width, channels), class_names=("cat", "dog"))


def test_cats_and_dogs_on_vgg16():
    """A head of 256 units on VGG16 has the weights that Keras's summary tells, frozen or not."""
    counts = {
        trainable: infer_shapes((Base(name="VGG16", trainable=trainable), *HEAD), images(128, 128, 3))
        for trainable in (False, "block3_conv1", True)
    }
    assert {shape.parameters for shape in counts.values()} == {16_812_353}
    assert [shape.trainable for shape in counts.values()] == [2_097_665, 16_552_193, 16_812_353]
    assert counts[False].shapes[0] == (4, 4, 512)
    assert counts[False].layer_parameters[0] == 14_714_688


def test_cats_and_dogs_from_scratch():
    """The network of four convolutions and a dense layer of 512 has the weights of Keras's summary, all trained."""
    maps = [
        layer
        for filters in (32, 64, 128, 128)
        for layer in (Conv2D(filters=filters, kernel_size=3, activation="relu"), Pool(size=2))
    ]
    head = (Flatten(), Dense(units=512, activation="relu"), Output(activation="sigmoid", units=1))
    shape = infer_shapes((*maps, *head), images(128, 128, 3))
    assert (shape.parameters, shape.trainable) == (2_601_153, 2_601_153)


def test_all_models_of_keras_are_known():
    """The table has every model of keras.applications, with weights to fetch, a size and a way to preprocess."""
    assert len(pretrained()) == 40
    for name, known in pretrained().items():
        assert known.preprocessing in ("none", "tf", "torch", "caffe"), name
        assert known.file[1].startswith("https://"), name
        assert known.map_size(224) >= 5, name
        total, none = known.counts(3, trainable=False)
        assert (known.counts(3, trainable=True)[0], none) == (total, 0)


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV3Small", "ResNet50V2", "Xception", "EfficientNetB0"])
def test_the_table_is_what_keras_builds(name):
    """At sizes even, odd and smallest, in grey and in colour, shape and counts are those of Keras's own model."""
    configure(threads=1)  # as trials in this process need it
    import keras

    known = pretrained()[name]
    build = getattr(keras.applications, name)
    shapes = [(known.smallest, 97, 3), (150, 128, 1)]
    for shape in shapes:
        keras.backend.clear_session()
        model = build(include_top=False, weights=None, input_shape=shape)
        base = Base(name=name, weights="none")
        found = infer_shapes((base, GlobalPool(), Output()), images(*shape))
        assert found.shapes[0] == tuple(model.output_shape[1:])
        assert found.layer_parameters[0] == model.count_params()
        weighted = [layer for layer in model.layers if layer.weights]
        assert [layer.name for layer in weighted] == list(known.layer_names)
        for layer in weighted[: len(weighted) // 2]:
            layer.trainable = False
        first = known.layer_names[len(weighted) // 2]
        trained = sum(int(variable.value.shape.num_elements()) for variable in model.trainable_variables)
        assert known.counts(shape[2], first)[1] == trained


def test_a_sweep_over_bases_and_what_is_trained():
    """Name and trainable part may be hyperparameters; a path of weights starts at the sweep file."""
    sweep = Sweep.parse(TEXT)
    frozen, partly = (sweep.resolve(row).layers[0] for row in sweep.grid.rows)
    assert (frozen.trainable, partly.trainable) == (False, "block3_conv1")
    from pathlib import Path

    own = Sweep.parse(TEXT.replace("weights: none", "weights: own.weights.h5"), folder=Path("/somewhere"))
    assert own.resolve(own.grid.rows[0]).layers[0].weights == "/somewhere/own.weights.h5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[VGG16]", "[VGG15]"), "unknown model 'VGG15' (did you mean 'VGG19'?); valid: ConvNeXtBase"),
        (("block3_conv1]", "block3_conv9]"), "VGG16 has no layer 'block3_conv9' with weights (did you mean"),
        (("block3_conv1]", "3]"), "trainable"),
        (("    - flatten", "    - flatten\n    - base: VGG16"), "only the first layer can be a base"),
        (("trainable: $trainable", "trainable: $trainable, extract: true"), "extract"),
        (("weights: none", "weight: none"), "unknown key 'weight' (did you mean 'weights'?)"),
    ],
)
def test_mistakes_are_told_with_their_line(change, message):
    """Every impossible setting is a mistake in the file, with the valid choices."""
    with pytest.raises(SweepFileError) as caught:
        Sweep.parse(TEXT.replace(*change))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("base", "shape", "reason"),
    [
        ({"name": "VGG16"}, (16, 64, 3), "at least 32 pixels, not 16x64x3"),
        ({"name": "VGG16"}, (64, 64, 1), "pretrained weights are for images of 3 channels"),
    ],
)
def test_images_that_do_not_fit_are_found_before_anything_runs(base, shape, reason):
    """Too small images, or grey ones for weights of colours, make an invalid configuration."""
    with pytest.raises(InvalidNetwork, match=reason):
        infer_shapes((Base(**base), *HEAD), images(*shape))
