"""Decoding image files: conversion of unusual ones, and refusal of others."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from helpers.images import deep_png, encoded, exif, tiff, with_chunk
from PIL import Image, PngImagePlugin

from cnn_sweep.training.data.image_decoder import ImageOptions, UnusableImageError, decode, read_images

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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.HEIC", "iPhone photographs: export them as JPEG"),
        ("a.nef", "raw photographs: export them as JPEG"),
        ("a.mp4", "videos: extract frames as JPEG, for example with ffmpeg"),
    ],
)
def test_a_file_of_a_kind_that_is_not_read_says_what_to_do(name, reason, tmp_path):
    """A raw photograph is a TIFF file, whose thumbnail would otherwise be taken for it."""
    Image.new("RGB", (8, 8)).save(tmp_path / name, format="TIFF")
    images, bad = read_images([tmp_path / name], ImageOptions(8, 8))
    assert not len(images)
    assert [one.reason for one in bad] == [reason]


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


RANDOM = np.random.default_rng(0)
TWELVE = RANDOM.integers(0, 4096, (16, 24, 3)).astype(np.uint16)
SOLID = np.full((16, 24, 1), 65535, np.uint16)
GRAY12 = TWELVE[..., :1]
DEEP = [
    (deep_png(TWELVE), TWELVE, "16-bit colours made 8 bits"),
    (deep_png(np.concatenate([TWELVE, SOLID], -1)), TWELVE, "16-bit colours made 8 bits, transparency made white"),
    (deep_png(np.concatenate([GRAY12, SOLID], -1)), GRAY12, "16-bit colours made 8 bits, transparency made white"),
    (deep_png(GRAY12), GRAY12, "16 bits made 8"),
    (tiff(TWELVE), TWELVE, "16-bit colours made 8 bits"),
    (tiff(TWELVE, ">"), TWELVE, "16-bit colours made 8 bits"),
    (tiff(GRAY12), GRAY12, "16 bits made 8"),
]


@pytest.mark.parametrize(("content", "values", "told"), DEEP)
def test_sixteen_bits_keep_their_range(content, values, told):
    """All 16 bits of each channel count, not the high byte alone, and `bits: 12` makes 4095 white; both are told."""
    for bits, white in ((None, 65535), (12, 4095)):
        pixels, done = decode(content, ImageOptions(16, 24, bits=bits))
        np.testing.assert_array_equal(pixels, np.broadcast_to(np.round(values / (white / 255)), pixels.shape))
        assert done == told


def test_what_is_brighter_than_the_bits_is_white_and_told():
    """A value above the range that the sweep gives becomes white, and the image is listed."""
    pixels, done = decode(deep_png(np.full((16, 24, 1), 5000, np.uint16)), ImageOptions(16, 24, bits=12))
    assert pixels.min() == 255
    assert done == "16 bits made 8, values above 4095 made white"


def test_a_transparent_value_of_16_bits_is_white():
    """PNG's transparent grey counts in 16 bits as it does in 8."""
    values = np.full((16, 24, 1), 7, np.uint16)
    pixels, _ = decode(with_chunk(deep_png(values), b"tRNS", b"\0\7"), RGB)
    assert pixels.min() == 255


def test_colours_in_separate_planes_are_refused_with_the_reason():
    """Pillow mixes up the bytes of 16-bit planes, so such a file is listed instead of being read wrongly."""
    with pytest.raises(UnusableImageError, match="16-bit colours in separate planes; save it with 8 bits"):
        decode(tiff(TWELVE, planar=2), RGB)


TURN = (0x0112, 3, 1, b"\6\0")
SIX_OVER_ZERO = (282, 5, 1, b"\6\0\0\0\0\0\0\0")
NOISE = RANDOM.integers(0, 256, (16, 24, 3)).astype(np.uint8)
MALFORMED_EXIF = [
    exif(TURN, SIX_OVER_ZERO),
    exif(TURN, (0x010F, 99, 5, b"abcd")),
    exif(TURN, (0x010F, 2, 50_000, b"\xff\xff\0\0")),
    exif(TURN, (0x8769, 4, 1, b"\xff\xff\xff\0")),
]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("data", MALFORMED_EXIF)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_an_image_is_turned_whatever_stands_beside_its_orientation(kind, data):
    """A malformed EXIF tag does not cost an image, nor its orientation."""
    on_side = Image.fromarray(np.kron([[250, 20]], np.ones((24, 8))).astype(np.uint8))  # bright on the left
    pixels, done = decode(encoded(on_side, kind, exif=data, quality=100), GREY)
    assert done == "turned as its EXIF data say"
    assert pixels[:6].min() > 200, "bright is at the top"
    assert pixels[-6:].max() < 60


def test_a_tiff_is_turned_once_whatever_stands_beside_its_orientation():
    """Pillow turns a TIFF as it loads it, unless its XMP is no text; either way it is upright."""
    for more, told in (([], ""), ([(700, 3, 2, b"abc\0")], ", malformed metadata ignored")):
        pixels, done = decode(tiff(NOISE, more=[TURN, *more]), ImageOptions(24, 16))
        np.testing.assert_array_equal(pixels, np.rot90(NOISE, -1))
        assert done == f"turned as its EXIF data say{told}"


def many_words(zipped):
    """PNG's text of 2.5 MB, more than Pillow takes."""
    info = PngImagePlugin.PngInfo()
    info.add_text("notes", "x" * 2_500_000, zip=zipped)
    return info


BEST_EFFORT = [
    encoded(Image.fromarray(NOISE), pnginfo=many_words(zipped=True)),
    encoded(Image.fromarray(NOISE), icc_profile=b"x" * 3_000_000),
    with_chunk(encoded(Image.fromarray(NOISE)), b"tEXt", b"a\0b").replace(b"a\0b", b"a\0c"),  # a wrong checksum
    tiff(NOISE, more=[(282, 2, 4, b"abc\0"), (296, 3, 1, b"\3\0")]),  # a resolution that is no number
    encoded(Image.fromarray(NOISE), exif=exif((0x0112, 2, 4, b"six\0"))),
]


@pytest.mark.parametrize("content", BEST_EFFORT, ids=["text", "profile", "checksum", "resolution", "orientation"])
def test_malformed_metadata_cost_no_image(content):
    """Pixels are read despite a malformed text, profile or tag, and a remark says so."""
    pixels, done = decode(content, RGB)
    np.testing.assert_array_equal(pixels, NOISE)
    assert done == "malformed metadata ignored"


def test_damaged_pixels_are_no_matter_of_metadata():
    """A PNG whose pixels are damaged is refused, also when it has metadata that could be left out."""
    content = with_chunk(encoded(Image.fromarray(NOISE)), b"tEXt", b"a\0b")
    with pytest.raises(UnusableImageError, match="damaged"):
        decode(content[:-40] + b"XXXX" + content[-36:], RGB)
