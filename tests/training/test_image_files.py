"""Decoding image files: what is made of odd ones, and why others are refused."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from helpers.images import encoded
from PIL import Image

from cnn_sweep.training.data.images import ImageOptions, decode, read_images

RGB = ImageOptions(16, 24)
GREY = ImageOptions(16, 24, color="grayscale")
RED = (200, 30, 10)


def turned() -> bytes:
    """Write a picture whose EXIF data say that it lies on its side: red is on the left, and at the top when upright."""
    image = Image.new("RGB", (16, 24), "blue")
    image.paste(RED, (0, 0, 8, 24))
    exif = image.getexif()
    exif[0x0112] = 6  # turn clockwise
    return encoded(image, "JPEG", quality=100, subsampling=0, exif=exif)


def test_exif_rotation_is_applied():
    """A picture that was taken sideways is upright, in its own width and height."""
    pixels, done = decode(turned(), RGB)
    assert pixels.shape == (16, 24, 3)
    assert done == "turned as its EXIF data say"
    assert pixels[2:6, :, 0].min() > 180, "red is at the top"
    assert pixels[10:14, :, 2].min() > 200, "blue is at the bottom"


PLAIN = Image.new("RGB", (24, 16), RED)
SIXTEEN = Image.fromarray(np.full((16, 24), 51 * 257, np.uint16))
CLEAR = Image.new("RGBA", (24, 16), (0, 0, 0, 0))
KINDS = [
    (encoded(PLAIN), RED, ""),
    (encoded(PLAIN.convert("L")), (78, 78, 78), ""),
    (encoded(PLAIN.quantize(4)), RED, "palette converted"),
    (encoded(PLAIN.convert("CMYK"), "TIFF"), RED, "CMYK converted"),
    (encoded(PLAIN.convert("CMYK"), "JPEG", quality=100), RED, "CMYK converted"),
    (encoded(SIXTEEN), (51, 51, 51), "16 bits made 8"),
    (encoded(Image.new("1", (24, 16), 1)), (255, 255, 255), "black and white converted"),
    (encoded(CLEAR), (255, 255, 255), "transparency made white"),
    (encoded(CLEAR.convert("LA")), (255, 255, 255), "transparency made white"),
    (encoded(PLAIN, "TIFF", save_all=True, append_images=[CLEAR.convert("RGB")]), RED, "first of 2 frames taken"),
    (encoded(PLAIN, "BMP"), RED, ""),
    (encoded(PLAIN, "WEBP", lossless=True), RED, ""),
    (encoded(PLAIN, "PPM"), RED, ""),
]


@pytest.mark.parametrize(("content", "colour", "done"), KINDS, ids=[f"{k}-{kind[2]}" for k, kind in enumerate(KINDS)])
def test_every_kind_of_picture_becomes_8_bits(content, colour, done):
    """Palettes, CMYK, 16 bits and transparency are converted, and it is said which."""
    pixels, conversion = decode(content, RGB)
    assert (pixels.shape, pixels.dtype, conversion) == ((16, 24, 3), np.uint8, done)
    assert np.abs(pixels[8, 12].astype(int) - colour).max() <= 2
    grey, _ = decode(content, GREY)
    assert grey.shape == (16, 24, 1)
    assert abs(int(grey[8, 12, 0]) - np.dot(colour, (0.299, 0.587, 0.114))) <= 2


REFUSED = [
    (b"", "empty"),
    (b"GIF or so", "not an image of a known format"),
    (encoded(PLAIN, "JPEG")[:200], "damaged: .*[Tt]runcated"),
    (encoded(PLAIN)[:60], "damaged"),
    (encoded(Image.new("F", (4, 4)), "TIFF"), "floating-point pixels"),
    (encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"), "32-bit pixels"),
    (encoded(PLAIN, "ICO"), "not an image of a known format"),
]


@pytest.mark.parametrize(("content", "reason"), REFUSED)
def test_what_cannot_be_decoded_has_a_reason(content, reason, tmp_path):
    """Damaged files, and values that do not fit into 8 bits, are refused; the images around them are read."""
    (tmp_path / "bad.png").write_bytes(content)
    (tmp_path / "good.png").write_bytes(encoded(PLAIN))
    images, bad = read_images([tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "good.png"], RGB)
    assert images.shape == (2, 16, 24, 3)
    assert [remark.name for remark in bad] == [str(tmp_path / "bad.png")]
    assert re.search(reason, bad[0].reason), bad[0].reason


def test_a_missing_file_is_a_bad_image(tmp_path):
    """A file that is gone is listed like one that is damaged."""
    images, bad = read_images([tmp_path / "none.jpg"], GREY)
    assert images.shape == (0, 16, 24, 1)
    assert bad[0].reason == "cannot be read: No such file or directory"


def test_other_shapes_are_stretched_cropped_or_padded():
    """A square with red edges and a green middle: crop loses the edges' top, pad adds black, stretch keeps all."""
    square = Image.new("RGB", (48, 48), "green")
    square.paste(RED, (0, 0, 48, 8))
    found = {fit: decode(encoded(square), ImageOptions(16, 24, fit=fit))[0] for fit in ("stretch", "crop", "pad")}
    assert found["stretch"][0, 12].tolist() == list(RED)
    assert found["crop"][1, 12].tolist() == [0, 128, 0], "the middle 24 x 16 of 24 x 24 begins below the red"
    assert found["pad"][8, 1].tolist() == [0, 0, 0]
    assert found["pad"][1, 12].tolist() == list(RED)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    """Decoding at a fraction of the size, which is much quicker, changes pixels by little."""
    ramp = np.linspace(0, 255, 800)[None, :, None] * np.linspace(0.2, 1, 600)[:, None, None] * np.ones(3)
    image = Image.fromarray(ramp.astype(np.uint8))
    pixels, _ = decode(encoded(image, "JPEG", quality=95), RGB)
    expected = np.asarray(image.resize((24, 16), Image.Resampling.BOX))
    assert np.abs(pixels.astype(int) - expected).max() <= 6


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_two_decoders_of_jpeg_give_the_same_pixels(options):
    """A JPEG that needs no resizing is decoded by the quicker library, and no bit depends on which of them did it."""
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (16, 24, 3), np.uint8))
    for picture in (image, image.convert("L")):
        content = encoded(picture, "JPEG", **options)
        with Image.open(io.BytesIO(content)) as opened:
            np.testing.assert_array_equal(decode(content, RGB)[0], np.asarray(opened.convert("RGB")))
        with Image.open(io.BytesIO(content)) as opened:
            opened.draft("L", (24, 16))
            np.testing.assert_array_equal(decode(content, GREY)[0][..., 0], np.asarray(opened))
