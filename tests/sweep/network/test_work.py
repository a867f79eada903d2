"""The work of networks, beside what others counted."""

import pytest

from cnn_sweep.sweep.network.layers import Base, Conv2D, Dense, Dropout, Flatten, Output, Pool
from cnn_sweep.sweep.network.shapes import ImageInfo
from cnn_sweep.sweep.network.work import network_work

PHOTOS = ImageInfo(image_shape=(224, 224, 3), class_names=("a", "b"))


def vgg16():
    """Return the convolutions of VGG16 and an output."""
    layers = []
    for filters, times in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        layers += [Conv2D(filters=filters, kernel_size=3, padding="same", activation="relu")] * times + [Pool()]
    return (*layers, Flatten(), Output())


def test_vgg16_has_its_published_number_of_multiplications():
    """15.3 thousand million in its convolutions, and twice as many for the gradients."""
    assert network_work(vgg16(), PHOTOS).multiply_adds / 3 == pytest.approx(15.35e9, rel=0.01)


def test_a_small_network_by_hand():
    """Dropout multiplies nothing; every output is an activation."""
    info = ImageInfo(image_shape=(8, 8, 1), class_names=("a", "b"))
    layers = (Conv2D(filters=4, kernel_size=3), Dropout(rate=0.5), Flatten(), Dense(units=5), Output())
    work = network_work(layers, info)
    assert work.multiply_adds == 3 * (36 * 4 * 9 + 144 * 5 + 5 * 2)
    assert work.activations == 144 * 3 + 5 + 2
    assert work.trained == 4 * 10 + 145 * 5 + 6 * 2


def test_a_base_costs_as_its_use():
    """Trained it costs most, frozen a third of that, and nothing if its outputs are computed once."""
    trained, frozen, extracted = (
        network_work((Base(name="VGG16", **use), Flatten(), Output()), PHOTOS).multiply_adds
        for use in ({"trainable": True}, {}, {"extract": True})
    )
    assert trained == pytest.approx(3 * frozen, rel=0.01)
    assert frozen == pytest.approx(15.35e9, rel=1.0)
    assert extracted == 3 * 7 * 7 * 512 * 2
