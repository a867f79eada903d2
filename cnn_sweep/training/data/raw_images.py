"""Images and lists of image files that a data source provides, before they are stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from cnn_sweep.errors import InputError
from cnn_sweep.training.data.dataset import Item
from cnn_sweep.training.data.image_decoder import ImageOptions, fitted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    from cnn_sweep.sweep.spec.data import Color, Fit, Resizable
    from cnn_sweep.training.data.dataset import TileGrid
    from cnn_sweep.training.data.image_decoder import BadImage

    Array = npt.NDArray[np.generic]
    Indices = npt.NDArray[np.intp]
    Labels = npt.NDArray[np.int32]


class Images(Protocol):
    """Images that need no decoding, such as arrays."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of each image."""

    @property
    def is_uint8(self) -> bool:
        """Whether values are whole numbers from 0 to 255; otherwise they are floating-point numbers."""

    def read(self, index: Indices) -> Array:
        """Return the images at these indices, (n, height, width, channels)."""

    def item(self, index: int) -> Item:
        """Return the origin of an image."""


@dataclass(frozen=True)
class InMemory:
    """Images in one array.

    Attributes:
        x: Shape (n, height, width, channels); uint8, or a floating type.
    """

    x: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of each image."""
        height, width, channels = self.x.shape[1:]
        return height, width, channels

    @property
    def is_uint8(self) -> bool:
        """Whether values are whole numbers from 0 to 255."""
        return self.x.dtype == np.uint8

    def read(self, index: Indices) -> Array:
        """Return the images at these indices."""
        return self.x[index]


@dataclass(frozen=True)
class ArrayImages(InMemory):
    """The images of one file.

    Attributes:
        name: Name of the file, used in the names of items (``x.npy#17``).
    """

    name: str

    def item(self, index: int) -> Item:
        """Return the origin of an image."""
        return Item(f"{self.name}#{index}")


@dataclass(frozen=True)
class FittedImages:
    """Images that are resized and converted when they are read."""

    images: Images
    options: ImageOptions

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of each image."""
        return self.options.shape

    @property
    def is_uint8(self) -> bool:
        """Always true: conversion yields uint8."""
        return True

    def read(self, index: Indices) -> Array:
        """Return the images at these indices."""
        x: Any = self.images.read(index)
        pictures = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in x)
        return np.stack([fitted(picture, self.options) for picture in pictures])

    def item(self, index: int) -> Item:
        """Return the origin of an image."""
        return self.images.item(index)


def in_form(images: Images, spec: Resizable) -> Images:
    """Resize and convert images, if the sweep sets a size or colour.

    Raises:
        InputError: The images do not have 8 bits with 1 or 3 channels.
    """
    options = options_for(images.shape, size=spec.image_size, fit=spec.fit, color=spec.color)
    if options is None or options.shape == images.shape:
        return images
    if not images.is_uint8 or images.shape[-1] not in (1, 3):
        raise InputError(
            f"image_size and color need images in 8 bits with 1 or 3 channels; these have {images.shape[-1]} channels "
            f"of {'8 bits' if images.is_uint8 else 'floating-point numbers'}"
        )
    return FittedImages(images, options)


def options_for(
    shape: tuple[int, int, int], *, size: tuple[int, int] | None, fit: Fit, color: Color | None
) -> ImageOptions | None:
    """Return the conversion of images of a shape; None if they are not pictures and no conversion is set."""
    height, width, channels = shape
    if size is None and color is None and channels not in (1, 3):
        return None
    default: Color = "rgb" if channels == 3 else "grayscale"
    return ImageOptions(*(size or (height, width)), fit=fit, color=color or default)


def taken(groups: tuple[str, ...] | None, index: Indices) -> tuple[str, ...] | None:
    """Return the groups of some images; None if there are none."""
    return None if groups is None else tuple(groups[k] for k in index)


@dataclass(frozen=True)
class Part:
    """One split of a source.

    Attributes:
        images: Images of all splits.
        index: Indices of this split's images in ``images``.
        y: Their labels, (n,); -1 if unlabelled.
        groups: Group of each of them, if images of one group stay in one split.
    """

    images: Images
    index: Indices
    y: Labels
    groups: tuple[str, ...] | None = None

    def take(self, index: Indices) -> Part:
        """Return some of the images."""
        return Part(self.images, self.index[index], self.y[index], taken(self.groups, index))


@dataclass(frozen=True)
class Source:
    """A source whose images are arrays, or tiles of one.

    Attributes:
        splits: By name.
        class_names: In the order of the labels.
        bad: Images that cannot be used.
        notes: Remarks for the user.
        grid: Grid of tiles, or None.
    """

    splits: Mapping[str, Part]
    class_names: tuple[str, ...]
    bad: tuple[BadImage, ...] = ()
    notes: tuple[str, ...] = ()
    grid: TileGrid | None = None


@dataclass(frozen=True)
class FileList:
    """The image files of one split.

    Attributes:
        folder: Folder that names are relative to.
        names: Relative paths with slashes.
        y: Label of each file; -1 if unlabelled.
        groups: Group of each file, if images of one group stay in one split.
    """

    folder: Path
    names: tuple[str, ...]
    y: Labels
    groups: tuple[str, ...] | None = None

    def take(self, index: Indices) -> FileList:
        """Return some of the files."""
        return FileList(self.folder, tuple(self.names[k] for k in index), self.y[index], taken(self.groups, index))


@dataclass(frozen=True)
class Listing:
    """Image files that were found and labelled but not yet opened.

    Attributes:
        splits: By name.
        class_names: In the order of the labels.
        options: Conversion of each image.
        notes: Remarks for the user.
    """

    splits: Mapping[str, FileList]
    class_names: tuple[str, ...]
    options: ImageOptions
    notes: tuple[str, ...] = field(default=())
