"""Decodes image files into arrays, in the same way for training and for prediction.

docs/reference/data.md lists the conversions: EXIF rotation is applied, palettes and CMYK become RGB, 16 bits become 8,
and transparency becomes white. Images that cannot be converted to 8 bits without guessing are refused. Malformed
metadata are ignored, because the pixels are still usable.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from cnn_sweep.regular_files import read_regular
from cnn_sweep.sweep.spec.data import MAX_PIXELS
from cnn_sweep.training.data.bit_depth import WHOLE, UnreadableDepthError, is_deep, read_deep, to_eight_bits
from cnn_sweep.training.data.metadata import TURNED, orientation, turned, without_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
# What files with other endings are, and what to do with them. Pillow would take a raw photograph's thumbnail for it.
_CURES: Final = {
    (".heic", ".heif"): "iPhone photographs: export them as JPEG",
    (".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"): "raw photographs: export them as JPEG",
    (".avif", ".jp2", ".jxl", ".psd"): "images of a kind that is not read: export them as PNG or JPEG",
    (".mp4", ".avi", ".mov", ".mkv"): "videos: extract frames as JPEG, for example with ffmpeg",
    (".zip", ".gz", ".tar", ".7z", ".rar"): "archives: unpack them",
    (".pdf", ".svg"): "documents: export them as PNG",
    (".mat", ".h5", ".hdf5", ".nc"): "arrays of other programs: save them as .npz",
}
_CURE_OF: Final = {ending: cure for endings, cure in _CURES.items() for ending in endings}
DEEP_COLOR = "16-bit colours made 8 bits"  # earlier versions cut these to the high byte, without a remark
_ROWS = 256  # rows of an image that are placed on white at once
_JPEG = b"\xff\xd8\xff"
_EXIF_WITHIN = 65_536  # bytes; EXIF data are in the first segment, which cannot be longer
# Options that earlier versions did not have, with the values that are not written.
_LATER: Final = (("bits", None), ("max_pixels", MAX_PIXELS))
_TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
_KINDS = {"P": "palette", "PA": "palette", "CMYK": "CMYK", "1": "black and white", "YCbCr": "YCbCr", "LAB": "LAB"}
_RESAMPLING = Image.Resampling.BILINEAR  # Pillow widens the filter when it shrinks an image, so every pixel counts


@dataclass(frozen=True)
class ImageOptions:
    """How each image is converted.

    Attributes:
        height: In pixels.
        width: In pixels.
        fit: Whether an image of another shape is stretched, scaled and cropped in the middle, or padded with black.
        color: Three channels or one.
        bits: Bits in use in files with more than 8 bits per channel; with 12, white is 4095. None means 16.
        max_pixels: Pixels of the largest image that is decoded.
    """

    height: int
    width: int
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    color: Literal["rgb", "grayscale"] = "rgb"
    bits: int | None = None
    max_pixels: int = MAX_PIXELS

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.height, self.width, 3 if self.color == "rgb" else 1

    def to_data(self) -> dict[str, Any]:
        """Return plain data for JSON, in the form that earlier versions wrote into prepared folders."""
        return {key: value for key, value in asdict(self).items() if (key, value) not in _LATER}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> ImageOptions:
        """Rebuild options from the result of `to_data`."""
        return cls(**data)


@dataclass(frozen=True)
class Remark:
    """A remark about an image: why it cannot be used, or how it was changed.

    Attributes:
        name: Its file.
        reason: The remark.
    """

    name: str
    reason: str


class BadImage(Remark):
    """An image that cannot be used, and the reason."""


@dataclass(frozen=True)
class Conversion:
    """Result of converting an image.

    Attributes:
        remark: Changes other than size and colour, such as a rotation; "" if none.
        peak: The largest value of an image with more than 8 bits per channel; 0 for others.
    """

    remark: str = ""
    peak: int = 0


class UnusableImageError(Exception):
    """An image that cannot be decoded; the message is the reason."""


def read_images(paths: Sequence[Path | str], options: ImageOptions) -> tuple[Pixels, list[BadImage]]:
    """Decode image files.

    Args:
        paths: The files.
        options: How to convert each image.

    Returns:
        The readable images in order, (n, height, width, channels), and the unusable ones.
    """
    images, bad = [], []
    for path in paths:
        try:
            images.append(decode(read_bytes(str(path)), options)[0])
        except UnusableImageError as error:
            bad.append(BadImage(str(path), str(error)))
    return np.stack(images) if images else np.zeros((0, *options.shape), np.uint8), bad


def cures_of(endings: Iterable[str]) -> list[str]:
    """Return what files with some endings are, if they are no images that can be read, and what to do with them."""
    return list(dict.fromkeys(_CURE_OF[ending] for ending in endings if ending in _CURE_OF))


def read_bytes(path: str) -> bytes:
    """Read a file.

    Raises:
        UnusableImageError: The file is empty, cannot be read, or is of a kind that is not.
    """
    if (cure := _CURE_OF.get(path[path.rfind(".") :].lower())) is not None:
        raise UnusableImageError(cure)
    try:
        content = read_regular(path)
    except OSError as error:
        raise UnusableImageError(f"cannot be read: {error.strerror or error}") from error
    if not content:
        raise UnusableImageError("the file is empty")
    return content


def content_digest(content: bytes | memoryview) -> str:
    """Return the first 32 hex digits of the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def decode(content: bytes, options: ImageOptions) -> tuple[Pixels, str]:
    """Decode an image file's bytes.

    Returns:
        The pixels, (height, width, channels), and a remark about changes other than size and colour, or "".

    Raises:
        UnusableImageError: The bytes are not an image, or it is damaged or cannot be converted to 8 bits.
    """
    pixels = np.empty(options.shape, np.uint8)
    return pixels, decode_into(pixels, content, options).remark


def decode_into(pixels: Pixels, content: bytes, options: ImageOptions) -> Conversion:
    """Decode an image file's bytes into an existing array.

    Raises:
        UnusableImageError: See `decode`; the content of the array is then undefined.
    """
    if _plain_jpeg(pixels, content, options):
        return Conversion()
    try:
        return _decode_with_pillow(pixels, content, options)
    except UnusableImageError as error:
        bare = without_metadata(content)
        if bare == content:
            raise
        try:
            done = _decode_with_pillow(pixels, bare, options)
        except UnusableImageError:  # the metadata are not the cause; the first message describes the file
            raise error from None
        return replace(done, remark=_joined([done.remark, "malformed metadata ignored"]))


def _decode_with_pillow(pixels: Pixels, content: bytes, options: ImageOptions) -> Conversion:
    try:
        with warnings.catch_warnings(), of_any_size(), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            warnings.simplefilter("ignore")  # about odd metadata
            deep = is_deep(image)  # before loading, which changes the mode
            _check_size(image, options.max_pixels, deep=deep)
            picture, peak, lies = _loaded(image, content, options, deep=deep)
            upright = picture if image.format == "TIFF" else turned(picture, lies)  # Pillow turns TIFFs while loading
            pixels[:] = fitted(upright, options)
            white = 2 ** (options.bits or WHOLE) - 1
            cut = f"values above {white} made white" if peak > white else ""
            return Conversion(_joined([_oddities(image, lies, deep=deep), cut]), peak)
    except UnusableImageError:
        raise
    except UnreadableDepthError as error:
        raise UnusableImageError(str(error)) from error
    except UnidentifiedImageError as error:
        raise UnusableImageError(f"not an image of a known format ({', '.join(FORMATS)})") from error
    except Exception as error:  # a damaged file can raise any exception
        raise UnusableImageError(f"damaged: {error or type(error).__name__}") from error


@contextmanager
def of_any_size() -> Iterator[None]:
    """Lift Pillow's own limit on pixels, which neither users nor the kind of an image could change."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, most: int, *, deep: bool) -> None:
    """Check the size that a file's header says, since a small file may take gigabytes when it is decoded.

    Raises:
        UnusableImageError: The image has too many pixels.
    """
    width, height = image.size
    pixels = width * height * (2 if deep else 1)
    if pixels > most:
        shown = f"{width:,} x {height:,} pixels{' of 16 bits, which count twice' if deep else ''}"
        raise UnusableImageError(f"too large: {shown}; the limit is {most:,}; to allow it, write max_pixels: {pixels}")


def _plain_jpeg(pixels: Pixels, content: bytes, options: ImageOptions) -> bool:
    """Decode a JPEG that needs no resizing, in a third of Pillow's time; return whether the file was one.

    Pillow and simplejpeg both use libjpeg-turbo and give the same pixels, which a test checks.
    """
    if not content.startswith(_JPEG) or content.find(b"Exif", 0, _EXIF_WITHIN) >= 0:
        return False
    try:
        height, width, colors, _ = simplejpeg.decode_jpeg_header(content)
        if (height, width) != (options.height, options.width) or colors not in ("YCbCr", "Gray"):
            return False
        target = "GRAY" if options.color == "grayscale" else "RGB"
        simplejpeg.decode_jpeg(content, colorspace=target, buffer=pixels)
    except ValueError:  # damaged; Pillow has the better message
        return False
    return True


def _oddities(image: Image.Image, lies: int | None, *, deep: bool) -> str:
    """Return remarks about an image that is not upright 8-bit RGB or grey: how it is converted."""
    done = []
    if lies is None:
        done.append("malformed metadata ignored")
    elif lies != 1:
        done.append("turned as its EXIF data say")
    if image.mode.startswith("I"):
        done.append("16 bits made 8")
    elif deep:
        done.append(DEEP_COLOR)
    if image.mode in _KINDS:
        done.append(f"{_KINDS[image.mode]} converted")
    if "transparency" in image.info or image.mode in _TRANSPARENT:
        done.append("transparency made white")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        done.append(f"first of {frames} frames taken")
    return _joined(done)


def _joined(remarks: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(remark for remark in remarks if remark))


def fitted(image: Image.Image, options: ImageOptions) -> Pixels:
    """Return an image in the requested size and colour, (height, width, channels)."""
    image = eight_bits(image, "RGB" if options.color == "rgb" else "L")
    size = (options.width, options.height)
    if image.size != size:
        if options.fit == "crop":
            image = ImageOps.fit(image, size, _RESAMPLING)
        elif options.fit == "pad":
            image = ImageOps.pad(image, size, _RESAMPLING)
        else:
            image = image.resize(size, _RESAMPLING)
    return np.asarray(image).reshape(options.shape)


def _loaded(
    image: Image.Image, content: bytes, options: ImageOptions, *, deep: bool
) -> tuple[Image.Image, int, int | None]:
    """Load an image in 8 bits, no larger than needed; return it, its largest value before, and its orientation."""
    lies = orientation(image) if image.format in {"JPEG", "TIFF"} else None
    if deep:
        picture, peak = shallow(image, lambda: Image.open(io.BytesIO(content), formats=FORMATS), options.bits)
        return picture, peak, lies or orientation(image)
    if image.format != "JPEG":
        image.load()  # first: the search for EXIF data may load the image and hide errors in its pixels
        return image, 0, lies or orientation(image)
    height, width = options.height, options.width
    if lies in TURNED:
        height, width = width, height
    # Decodes to 1/2, 1/4 or 1/8 of the size if that is large enough, and skips colour if grey is requested.
    image.draft("L" if options.color == "grayscale" else image.mode, (2 * width, 2 * height))
    image.load()
    return image, 0, lies


def shallow(image: Image.Image, reopen: Callable[[], Image.Image], bits: int | None) -> tuple[Image.Image, int]:
    """Scale an image with more than 8 bits per channel to 8.

    Args:
        image: Opened, not yet loaded.
        reopen: Opens the same file once more.
        bits: Bits in use; None means all 16.

    Returns:
        The image, and its largest value before scaling; 0 if unknown.

    Raises:
        UnreadableDepthError: Its values cannot be scaled to 8 bits without guessing.
    """
    values = read_deep(image, reopen)
    if values is None:
        return image, 0
    colors = values if values.shape[-1] in (1, 3) else values[..., :-1]
    peak = int(colors.max(initial=0))
    return to_eight_bits(values, bits or WHOLE, image.info.get("transparency")), peak


def eight_bits(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    """Convert a loaded image with 8 bits per channel to RGB or grey.

    Raises:
        UnusableImageError: Its values cannot be converted to 8 bits without guessing.
    """
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        return _on_white(image, mode)
    return image.convert(mode) if image.mode != "CMYK" else image.convert("RGB").convert(mode)


def _on_white(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    """Place an image with transparent parts on white, row by row, since copies of a whole image may take gigabytes."""
    width, height = image.size
    done = Image.new(mode, image.size)
    for top in range(0, height, _ROWS):
        part = image.crop((0, top, width, min(top + _ROWS, height))).convert("RGBA")
        white = Image.new("RGBA", part.size, "white")
        done.paste(Image.alpha_composite(white, part).convert(mode), (0, top))
    return done
