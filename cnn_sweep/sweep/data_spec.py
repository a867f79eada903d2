"""Which images a sweep is about."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from cnn_sweep.sweep.network import Spec

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
ShareOrNone = Annotated[float, Field(ge=0.0, lt=1.0)]
Rescale = Annotated[float, Field(gt=0.0)] | None
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ArrayFiles(Spec):
    """Two ``.npy`` files, relative to the sweep file: images and their labels."""

    x: str
    y: str


def _share_or_files(value: Any) -> str:
    return "files" if isinstance(value, dict | ArrayFiles) else "share"


class _Split(Spec):
    @model_validator(mode="after")
    def _leaves_training_images(self) -> _Split:
        validation, test = getattr(self, "validation", 0), getattr(self, "test", 0)
        shares = sum(share for share in (validation, test) if isinstance(share, float | int))
        if shares >= 1:
            raise ValueError(f"validation {validation} and test {test} leave no images for training")
        return self


class DigitsData(_Split):
    """scikit-learn's 1,797 handwritten digits, 8x8 pixels, in stratified splits."""

    source: Literal["digits"]
    validation: Share = 0.2
    test: ShareOrNone = 0.2  # 0: no test set
    seed: Seed = 0  # of the splits
    rescale: Rescale = None  # factor on pixel values; None: 1/255


class ArraysData(_Split):
    """Images in ``.npy`` files; ``validation`` and ``test`` are shares of the training files, or files."""

    source: Literal["arrays"]
    train: ArrayFiles
    validation: Annotated[
        Annotated[Share, Tag("share")] | Annotated[ArrayFiles, Tag("files")], Discriminator(_share_or_files)
    ] = 0.2
    test: (
        Annotated[
            Annotated[ShareOrNone, Tag("share")] | Annotated[ArrayFiles, Tag("files")],
            Discriminator(_share_or_files),
        ]
        | None
    ) = None
    seed: Seed = 0  # of the splits
    rescale: Rescale = None  # factor on pixel values; None: 1/255 for uint8, 1 for floats


DataSpec = DigitsData | ArraysData
SOURCES: dict[str, type[DigitsData | ArraysData]] = {"digits": DigitsData, "arrays": ArraysData}
