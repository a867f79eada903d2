"""The section ``data``: the images of a sweep, their labels and their splits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainSerializer, Tag, field_validator, model_validator

from cnn_sweep.messages import show
from cnn_sweep.validation import Count, Pair, Spec, added_later

MAX_FOLDS = 100
MAX_PIXELS = 125_000_000  # of an image file that is decoded, unless the sweep file has another limit
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def _share(value: Any) -> Any:
    """Read ``20%`` as 0.2."""
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) / 100 if match else value


_Percent = Annotated[str, Field(pattern=rf"^\s*{_PERCENT.pattern}\s*$")]
_Inside = Annotated[float, Field(gt=0.0, lt=1.0)]
_InsideOrZero = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, BeforeValidator(_share, json_schema_input_type=_Inside | _Percent), Field(gt=0.0, lt=1.0)]
ShareOrZero = Annotated[
    float, BeforeValidator(_share, json_schema_input_type=_InsideOrZero | _Percent), Field(ge=0.0, lt=1.0)
]
Rescale = Annotated[float, Field(gt=0.0)] | None
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Fit = Literal["stretch", "crop", "pad"]
Color = Literal["rgb", "grayscale"]
Bits = Annotated[int, Field(ge=8, le=16)] | None
OnBadImage = Literal["skip", "fail"]
OnLeak = Literal["fail", "warn"]


class Last(Spec):
    """The last images of the training set in file order, as with Keras's ``validation_split``."""

    last: Share


class ArrayFiles(Spec):
    """Images and their labels: ``.npy`` files, or arrays of ``.npz`` files (``data.npz:x_train``)."""

    x: str
    y: str


class PerClass(Spec):
    """Largest number of images of each class; None: all."""

    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None


def _one_or_several(value: Any) -> Any:
    """Read a name as a list of one."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, tuple) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"must be a name or a list of names, not {show(value)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a name is repeated in {show(value)}")
    return names


def _counts(value: Any) -> Any:
    """Read ``per_class: 1000`` as 1000 images in every split."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"train": value, "validation": value, "test": value}
    return value


_PerClass = Annotated[PerClass, BeforeValidator(_counts, json_schema_input_type=Count | PerClass)]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_several, json_schema_input_type=str | Annotated[tuple[str, ...], Field(min_length=1)]),
]


def _kind_of_split(value: Any) -> str:
    value = _share(value)
    if isinstance(value, str):
        return "folder"
    if isinstance(value, dict):
        return "files" if {"x", "y"} & set(value) else "tail"
    return "tail" if isinstance(value, Last) else "files" if isinstance(value, ArrayFiles) else "share"


def _share_or_last(value: Any) -> str:
    return "tail" if isinstance(value, dict | Last) else "share"


_Tail = Annotated[Last, Tag("tail")]
ShareOrLast = Annotated[Annotated[Share, Tag("share")] | _Tail, Discriminator(_share_or_last)]
ShareOrFolder = Annotated[
    Annotated[Share, Tag("share")] | Annotated[str, Tag("folder")],
    Discriminator(_kind_of_split),
]
ShareZeroOrFolder = Annotated[
    Annotated[ShareOrZero, Tag("share")] | Annotated[str, Tag("folder")],
    Discriminator(_kind_of_split),
]

# The order of this mapping numbers the classes; canonical JSON would sort its keys.
_in_order = PlainSerializer(lambda value: [list(item) for item in value.items()], when_used="json")


def _groups_or_names(value: Any) -> str:
    return "groups" if isinstance(value, Mapping) else "names"


class _Data(Spec):
    """Keys of all sources."""

    source: str
    seed: Seed = 0  # seed of the splits, and of the selection of images
    rescale: Rescale = None  # factor on pixel values; None: 1/255 for uint8, 1 for floats
    per_class: _PerClass = added_later(PerClass())
    mirror: bool = added_later(False)  # add each training image's mirror image, left and right exchanged
    # Cross-validation: the training images are divided into this number of folds, and each validates in turn.
    folds: Annotated[int, Field(ge=2, le=MAX_FOLDS)] | None = added_later(None)

    @property
    def validation_set(self) -> Any:
        """What the sweep says about validation images; None with folds, and where a source has no such key."""
        return None if self.folds else getattr(self, "validation", None)

    @model_validator(mode="after")
    def _folds_validate(self) -> _Data:
        if self.folds is not None:
            _check_unused(self, ["validation"], f"each of the {self.folds} folds validates in turn")
        return self

    @model_validator(mode="after")
    def _fits_in_memory(self) -> _Data:
        height, width = getattr(self, "image_size", None) or (1, 1)
        if height * width > MAX_PIXELS:
            raise ValueError(f"image_size {show([height, width])} is more than {MAX_PIXELS:,} pixels")
        return self

    @model_validator(mode="after")
    def _leaves_training_images(self) -> _Data:
        validation, test = self.validation_set, getattr(self, "test", 0)
        validation = validation.last if isinstance(validation, Last) else validation
        shares = sum(share for share in (validation, test) if isinstance(share, float | int))
        if shares >= 1:
            raise ValueError(f"validation {validation} and test {test} leave no images for training")
        return self


def _check_unused(data: Spec, keys: Iterable[str], reason: str) -> None:
    """Check that no key is given that would have no effect.

    Raises:
        ValueError: A key would be ignored.
    """
    for key in keys:
        if key in data.model_fields_set:
            raise ValueError(f"{key} {show(getattr(data, key))} has no effect, since {reason}; leave out {key!r}")


class Resizable(_Data):
    """Images in arrays; ``image_size`` and ``color`` convert them."""

    image_size: Pair | None = added_later(None)  # height, width
    fit: Fit = added_later("stretch")  # how an image of another shape is resized
    color: Color | None = added_later(None)  # None: unchanged
    on_leak: OnLeak = added_later("warn")  # the same image in two splits


class DigitsData(Resizable):
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels, in stratified splits."""

    source: Literal["digits"]
    validation: ShareOrLast = 0.2
    test: ShareOrZero = 0.2  # 0: no test set


class ArraysData(Resizable):
    """Images in ``.npy`` files; ``validation`` and ``test`` are shares of the training files, or files."""

    source: Literal["arrays"]
    train: ArrayFiles
    validation: Annotated[
        Annotated[Share, Tag("share")] | _Tail | Annotated[ArrayFiles, Tag("files")],
        Discriminator(_kind_of_split),
    ] = 0.2
    test: (
        Annotated[
            Annotated[ShareOrZero, Tag("share")] | Annotated[ArrayFiles, Tag("files")],
            Discriminator(_kind_of_split),
        ]
        | None
    ) = None
    unlabelled: str | None = added_later(None)  # images without labels, to be predicted
    group: str | None = added_later(None)  # a file with the group of each training image, which stays in one split
    class_names: Names | None = added_later(None)  # in the order of the labels


class BenchmarkData(Resizable):
    """MNIST, Fashion-MNIST or CIFAR-10; their own test images are the test set."""

    source: Literal["mnist", "fashion_mnist", "cifar10"]
    path: str | None = None  # an .npz file with x_train, y_train, x_test, y_test; None: Keras's cache
    validation: ShareOrLast = 0.2


class RdsSplits(Spec):
    """The ``.rds`` files of one class: R lists of images."""

    train: str
    validation: str | None = None
    test: str | None = None


class RdsData(Resizable):
    """R lists of images as R's imager makes them, in ``.rds`` files, two per class: training and validation."""

    source: Literal["rds"]
    classes: Annotated[dict[str, RdsSplits], Field(min_length=1), _in_order]
    unlabelled: str | None = None
    validation: Share = 0.2  # for classes without validation files
    test: ShareOrZero = 0.0
    on_bad_image: OnBadImage = "skip"

    @model_validator(mode="after")
    def _one_division(self) -> RdsData:
        for key in ("validation", "test"):
            if all(getattr(files, key) is not None for files in self.classes.values()):
                _check_unused(self, [key], f"every class has a file for {key}")
        if any(files.validation is not None for files in self.classes.values()):
            _check_unused(self, ["folds"], "classes have files for validation")
        return self


class _Files(_Data):
    """Images in one file each."""

    train: str  # a folder
    validation: ShareOrFolder = 0.2
    test: ShareZeroOrFolder = 0.0
    unlabelled: str | None = None  # a folder of images without labels, to be predicted
    image_size: Pair  # height, width
    fit: Fit = "stretch"  # how an image of another shape is resized
    color: Color = "rgb"
    bits: Bits = added_later(None)  # bits in use of 16-bit files: with 12, white is 4095; None: as found
    on_bad_image: OnBadImage = "skip"
    on_leak: OnLeak = "fail"  # the same file in two splits
    max_pixels: Count = added_later(MAX_PIXELS)  # pixels of the largest image file that is decoded
    group: str | None = added_later(None)  # images of one group stay in one split: a column, or a pattern of paths
    order: str | None = added_later(None)  # the last images by this date or number validate and test; likewise

    @property
    def grouping(self) -> str | None:
        """Where the value by which images are divided is found: a column, or a pattern of paths."""
        return self.group or self.order

    @field_validator("group", "order")
    @classmethod
    def _one_name(cls, group: str | None) -> str | None:
        if group is not None and (group.count("{"), group.count("}")) not in ((0, 0), (1, 1)):
            raise ValueError(
                f"{show(group)} must be a column, or a pattern with one name in braces, as in '*/{{site}}/*'"
            )
        return group

    @model_validator(mode="after")
    def _ordered_alone(self) -> _Files:
        if self.order is not None:
            _check_unused(self, ["group"], "'order' divides the images")
            _check_unused(self, ["folds"], "'order' divides the images into past and future")
        return self


class FolderData(_Files):
    """A folder with a subfolder for each class, or subfolders that are grouped into classes."""

    source: Literal["folder"]
    classes: (
        Annotated[
            Annotated[dict[str, Names], _in_order, Tag("groups")] | Annotated[Names, Tag("names")],
            Discriminator(_groups_or_names),
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _groups_by_path(self) -> FolderData:
        for key in ("group", "order"):
            if (value := getattr(self, key)) is not None and "{" not in value:
                example = "'*/{site}/*'" if key == "group" else "'*_{date}_*'"
                raise ValueError(f"{key} {show(value)} must be a pattern of paths below train, such as {example}")
        return self


class Labels(Spec):
    """Where the labels of files are: in their names, or in a table (CSV, or a DataFrame saved as Parquet)."""

    pattern: str | None = None  # such as "{class}.*.jpg"
    table: str | None = None
    filename: str = "filename"  # column: path of the image, from the folder of images
    label: str = "label"  # column: its class; empty: unlabelled
    split: str | None = None  # column: train, validation, test or unlabelled

    @model_validator(mode="after")
    def _one_place(self) -> Labels:
        if (self.pattern is None) == (self.table is None):
            raise ValueError("labels come from a 'pattern' of file names or from a 'table'; give exactly one")
        if self.pattern is not None and self.pattern.count("{class}") != 1:
            raise ValueError(
                f"pattern {self.pattern!r} must contain {{class}} once, as in '{{class}}.*.jpg'; "
                "{number} stands for digits, * and ? for the rest"
            )
        if self.pattern is not None:
            _check_unused(self, ("filename", "label", "split"), "labels come from file names and not from a table")
        return self


class FilesData(_Files):
    """Files whose labels are in their names or in a table."""

    source: Literal["files"]
    labels: Labels
    classes: Names | None = None  # their order; None: all that occur, sorted

    @model_validator(mode="after")
    def _one_division(self) -> FilesData:
        if self.labels.split is not None:
            _check_unused(self, ("validation", "test"), f"the column {self.labels.split!r} divides the images")
        return self

    @model_validator(mode="after")
    def _has_groups(self) -> FilesData:
        for key in ("group", "order"):
            if (value := getattr(self, key)) is not None and "{" not in value and self.labels.table is None:
                raise ValueError(f"{key} {show(value)} must be a pattern of file names, such as '{{site}}_*'")
        return self


class TileLabels(Spec):
    """Where the labels of tiles are: in a mask as large as the picture, or in a table of positions."""

    mask: str | None = None
    cover: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # smallest share of a tile's pixels that a class must have
    table: str | None = None
    row: str = "row"  # column: the tile's row in the grid, from 0
    column: str = "column"
    label: str = "label"  # column: its class; empty: unlabelled
    split: str | None = None  # column: train, validation, test or unlabelled

    @model_validator(mode="after")
    def _one_place(self) -> TileLabels:
        if (self.mask is None) == (self.table is None):
            raise ValueError("labels come from a 'mask' or from a 'table'; give exactly one")
        if self.mask is not None:
            _check_unused(self, ("row", "column", "label", "split"), "labels come from a mask and not from a table")
        return self


class TilesData(Resizable):
    """One large picture, cut into a grid of tiles; those without a label are the prediction set."""

    source: Literal["tiles"]
    picture: str
    size: Pair  # height, width of a tile
    stride: Pair | None = None  # None: the size, tiles touch
    labels: TileLabels
    classes: (  # values in the mask; or, with a table, the order of the classes
        Annotated[
            Annotated[dict[str, int], _in_order, Tag("groups")] | Annotated[Names, Tag("names")],
            Discriminator(_groups_or_names),
        ]
        | None
    ) = None
    validation: Share = 0.2  # share of the labelled tiles, unless the table has a column with the split
    test: ShareOrZero = 0.0
    color: Color | None = "rgb"
    bits: Bits = added_later(None)  # bits in use of a 16-bit picture; None: as found
    block: Count | None = added_later(None)  # rows and columns of the blocks of tiles that stay in one split

    @model_validator(mode="after")
    def _mask_has_values(self) -> TilesData:
        if self.labels.mask is not None and not isinstance(self.classes, Mapping):
            raise ValueError("a mask needs 'classes' with the value of each, such as {bush: 1, other: 2}")
        if self.labels.mask is None and isinstance(self.classes, Mapping):
            raise ValueError("'classes' have values only with a mask; with a table write a list of names")
        return self

    @model_validator(mode="after")
    def _one_division(self) -> TilesData:
        if self.labels.split is not None:
            _check_unused(self, ("validation", "test"), f"the column {self.labels.split!r} divides the images")
        return self


DataSpec = DigitsData | ArraysData | BenchmarkData | FolderData | FilesData | TilesData | RdsData
SOURCES: dict[str, type[DataSpec]] = {
    "digits": DigitsData,
    "arrays": ArraysData,
    "mnist": BenchmarkData,
    "fashion_mnist": BenchmarkData,
    "cifar10": BenchmarkData,
    "folder": FolderData,
    "files": FilesData,
    "tiles": TilesData,
    "rds": RdsData,
}


def named_paths(spec: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each key below ``data`` that names a file or folder, and its value."""
    for key in ("path", "picture", "train", "validation", "test", "unlabelled"):
        value = getattr(spec, key, None)
        if isinstance(value, str):
            yield (key,), value
        elif hasattr(value, "x"):
            yield from (((key, part), getattr(value, part)) for part in ("x", "y"))
    if spec.source == "arrays" and spec.group is not None:
        yield ("group",), spec.group
    for key in ("table", "mask"):
        if (value := getattr(getattr(spec, "labels", None), key, None)) is not None:
            yield ("labels", key), value
    if spec.source == "rds":
        for name, files in spec.classes.items():
            yield from (
                (("classes", name, part), value) for part, value in files.model_dump().items() if value is not None
            )
