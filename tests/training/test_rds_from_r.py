"""R's own files, written by a real R (`make test-r`), are read element for element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.real_r import require_r, run_r

from cnn_sweep.errors import InputError
from cnn_sweep.sweep.spec.data import RdsData
from cnn_sweep.training.data.dataset import items, load
from cnn_sweep.training.data.prepare import prepare, read_report

require_r()

# Images of 5 x 4 pixels, width first, as imager has them; element (x, y, 1, c) of image k is a number of its own.
SCRIPT = """
cimg <- function(values, dim = c(5, 4, 1, 3)) {
    structure(array(values, dim = dim), class = c("cimg", "imager_array", "numeric"))
}
image <- function(k) cimg(((seq_len(60) * 7 + k * 31) %% 256) / 255)
for (class in 0:1) {
    train <- lapply(1:6 + 100 * class, image)
    names(train) <- paste0("tile", 1:6, ".png")
    saveRDS(train, paste0("train", class, ".rds"))
    validation <- structure(lapply(20:22 + 100 * class, image), class = c("imlist", "list"))
    saveRDS(validation, paste0("validation", class, ".rds"))
}
saveRDS(list(image(1), cimg(rep(NA_real_, 60)), "text", NULL, cimg(0.5, c(6, 4, 1, 3)), matrix(0, 5, 4)), "odd.rds")
twice <- lapply(1:4, image); names(twice) <- c("a", "a", "b", "b")
saveRDS(twice, "twice.rds", compress = "xz")
set.seed(1); saveRDS(lapply(1:6, function(k) cimg(runif(60))), "real.rds")
for (k in 1:6) write(sprintf("%.17g", as.vector(readRDS("real.rds")[[k]])), "real.txt", append = TRUE)
"""
CLASSES = {
    "bush": {"train": "train0.rds", "validation": "validation0.rds"},
    "other": {"train": "train1.rds", "validation": "validation1.rds"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that R wrote."""
    folder = tmp_path_factory.mktemp("r")
    run_r(SCRIPT, folder, source=None)
    return folder


def expected(k):
    """Image k as numbers, (height, width, channels); R's arrays have the first index run fastest."""
    values = (np.arange(1, 61) * 7 + k * 31) % 256
    return values.reshape((5, 4, 3), order="F").transpose(1, 0, 2)


def spec_of(classes=CLASSES, **data):
    """Write a data section."""
    return RdsData.model_validate({"source": "rds", "classes": classes, **data})


def test_every_element_is_read(folder, tmp_path):
    """Pixels, order and names of two classes in two files each; 8 bits that imager divided by 255 are 8 bits again."""
    path = prepare(spec_of(unlabelled="odd.rds"), folder, tmp_path)
    data = load(path, splits=("train", "validation", "unlabelled"))
    assert data.info.image_shape == (4, 5, 3)
    assert data.train.x.dtype == np.uint8
    numbers = [*range(1, 7), *range(101, 107)]
    for pixels, k in zip(data.train.x, numbers, strict=True):
        np.testing.assert_array_equal(pixels, expected(k))
    np.testing.assert_array_equal(data.train.y, np.repeat([0, 1], 6))
    for pixels, k in zip(data.validation.x, [20, 21, 22, 120, 121, 122], strict=True):
        np.testing.assert_array_equal(pixels, expected(k))
    assert items(path, "train")[1].name == "train0.rds#tile2.png"
    np.testing.assert_array_equal(data.splits["unlabelled"].x, expected(1)[None])
    assert [(bad["file"], bad["reason"]) for bad in read_report(path)["bad"]] == [
        ("odd.rds#2", "it holds NA, NaN or infinity"),
        ("odd.rds#3", "not an array of numbers"),
        ("odd.rds#4", "not an array of numbers"),
        ("odd.rds#6", "of the shape (5, 4), not width x height x 1 x channels"),
        ("odd.rds#5", "(4, 6, 3) pixels and channels, but the first has (4, 5, 3)"),
    ]


def test_numbers_that_were_no_8_bits_are_kept(folder, tmp_path):
    """Values between those of 8 bits, as resizing in R gives, are stored as 32-bit floats, each to the last bit."""
    classes = {"a": {"train": "real.rds"}, "b": {"train": "real.rds"}}
    data = load(prepare(spec_of(classes, validation=0.5), folder, tmp_path))
    values = np.loadtxt(Path(folder, "real.txt")).reshape(6, 60)
    stored = {pixels.transpose(1, 0, 2).ravel(order="F").tobytes() for pixels in data.train.x}
    assert data.train.x.dtype == np.float32
    assert data.rescale == 1.0
    assert stored <= {row.astype(np.float32).tobytes() for row in values}


def test_names_that_stand_twice_lose_no_image(folder, tmp_path):
    """A list in R may have the same name for several elements; none of them is lost."""
    classes = {"a": {"train": "twice.rds"}, "b": {"train": "train1.rds"}}
    data = load(prepare(spec_of(classes, validation=0.2), folder, tmp_path))
    assert len(data.train.y) + len(data.validation.y) == 10


def test_a_file_that_is_no_rds_is_named(folder, tmp_path):
    """A damaged or missing file ends with its name."""
    (folder / "broken.rds").write_bytes(Path(folder, "train0.rds").read_bytes()[:300])
    classes = {"a": {"train": "broken.rds"}, "b": {"train": "train1.rds"}}
    with pytest.raises(InputError, match=r"broken\.rds is not an \.rds file that can be read"):
        prepare(spec_of(classes), folder, tmp_path)
    one = {"a": {"train": "train0.rds", "validation": "validation0.rds"}, "b": {"train": "train1.rds"}}
    with pytest.raises(InputError, match=r"the class b has no validation file, but others have"):
        prepare(spec_of(one), folder, tmp_path)
