"""Writes small stand-ins for the images of the example workflows, so that each of them runs without a download.

The pixels are real ones: random cuts of the two photographs that scikit-learn carries, a temple and a flower. What is
called a cat here is a piece of the flower; only layout, names, formats and sizes are those of the data that each
workflow is about:

    bush/       an aerial-like picture of 50 x 50 tiles, tiles.csv and mask.png with the labels of a few of them;
                truth.csv has all; rds/*.rds are the same tiles as R's imager would save them (where R is installed)
    scenes/     seg_train, seg_test: six folders of about 150 x 150 JPEGs, some of another size; seg_pred: no labels
    cats_dogs/  train, validation, test, each with cats and dogs; all: one folder of cat.N.jpg and dog.N.jpg
    named/      files whose label stands in their name
    traps/      sites/SITE/NUMBER.jpg: photographs of camera traps, and sites/photos.csv with species, site and date;
                new_sites/ has those of other sites. Each site has its own background, and most of its photographs show
                one species: who knows the site can guess the species, which helps nobody at another site

    python examples/make_images.py DEST [--scale small|full] [--only bush|scenes|cats_dogs|named|traps]
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

TILE = 50  # pixels
TRAP = (48, 64)  # height and width of a camera trap's photographs
PHOTOGRAPHS = 24  # of each site
SPECIES = ("deer", "empty", "fox")
HOME = 0.75  # share of a site's photographs that show the species which lives there
SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")


@dataclass(frozen=True)
class Scale:
    """How many of everything.

    Attributes:
        grid: Rows and columns of tiles.
        tiles: Labelled tiles of both classes together, for training and as many for validation.
        scenes: Images of each scene for training; a fourth of it for the test and for prediction.
        pets: Images of each animal for training; half of it for validation and for the test.
        named: Files of each label.
        sites: Sites of camera traps, and as many new ones; each has 24 photographs.
    """

    grid: tuple[int, int]
    tiles: int
    scenes: int
    pets: int
    named: int
    sites: int


# Of the real ones: 100 + 100 + 5,047 tiles; about 2,300 of each scene; 2,000 + 1,000 + 1,000 pets.
SCALES = {
    "small": Scale(grid=(12, 15), tiles=20, scenes=16, pets=20, named=24, sites=12),
    "full": Scale(grid=(53, 99), tiles=100, scenes=2300, pets=1000, named=1000, sites=60),
}

_DULL = 4.0  # standard deviation of pieces that show nothing; black corners would be the same file again and again

_TO_R = """
arguments <- commandArgs(trailingOnly = TRUE)
n <- as.integer(arguments[3]); side <- as.integer(arguments[4])
bytes <- readBin(arguments[1], "integer", n * side * side * 3, size = 1, signed = FALSE)
whole <- array(bytes / 255, dim = c(side, side, 1, 3, n))
images <- lapply(seq_len(n), function(k) {
    structure(array(whole[, , , , k], dim = c(side, side, 1, 3)), class = c("cimg", "imager_array", "numeric"))
})
saveRDS(images, arguments[2])
"""


class Photographs:
    """Random pieces of the two photographs (427 x 640 pixels)."""

    def __init__(self, seed: int) -> None:
        """Load them; pieces follow from the seed."""
        self.random = np.random.default_rng(seed)
        self._photographs: dict[str, Any] = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}

    def piece(self, name: str, height: int, width: int, *, third: int | None = None) -> Any:
        """Cut a piece; of the left, middle or right ``third`` only, if one is given."""
        photograph = self._photographs[name]
        if third is not None:
            step = photograph.shape[1] // 3
            photograph = photograph[:, third * step : (third + 1) * step]
        light = self.random.uniform(0.75, 1.0)  # nothing is overexposed to the same white
        while True:
            y = self.random.integers(0, photograph.shape[0] - height + 1)
            x = self.random.integers(0, photograph.shape[1] - width + 1)
            pixels = photograph[y : y + height, x : x + width]
            if pixels.std() > _DULL:
                return (pixels * light).astype(np.uint8)


def write_jpeg(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=90)


def make_pets(folder: Path, scale: Scale, photographs: Photographs) -> None:
    sizes = {"train": scale.pets, "validation": scale.pets // 2, "test": scale.pets // 2}
    for animal, photograph in (("cat", "flower"), ("dog", "china")):
        number = 0
        for split, count in sizes.items():
            for _ in range(count):
                height, width = photographs.random.integers(100, 200, 2)
                pixels = photographs.piece(photograph, int(height), int(width))
                write_jpeg(folder / split / f"{animal}s" / f"{animal}.{number}.jpg", pixels)
                write_jpeg(folder / "all" / f"{animal}.{number}.jpg", pixels)
                number += 1


def make_scenes(folder: Path, scale: Scale, photographs: Photographs) -> None:
    for place, scene in enumerate(SCENES):
        for part, count in (("seg_train", scale.scenes), ("seg_test", scale.scenes // 4)):
            for number in range(count):
                height = 113 if number % 10 == 9 else 150
                pixels = photographs.piece(("china", "flower")[place % 2], height, 150, third=place // 2)
                write_jpeg(folder / part / scene / f"{scene}_{number}.jpg", pixels)
    for number in range(scale.scenes // 4):
        write_jpeg(folder / "seg_pred" / f"{number}.jpg", photographs.piece("china", 150, 150))


def make_named(folder: Path, scale: Scale, photographs: Photographs) -> None:
    for label, photograph in (("flower", "flower"), ("temple", "china")):
        for number in range(scale.named):
            write_jpeg(folder / f"{label}.{number}.jpg", photographs.piece(photograph, 64, 64))


def make_bush(folder: Path, scale: Scale, photographs: Photographs) -> None:
    rows, columns = scale.grid
    is_bush = photographs.random.random((rows, columns)) < 0.3
    picture = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            pixels = photographs.piece("flower" if is_bush[row, column] else "china", TILE, TILE)
            picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = pixels
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / "picture.png")
    labelled = choose(is_bush, scale.tiles, photographs.random)
    write_table(folder / "tiles.csv", ("row", "column", "label", "split"), labelled)
    truth = [(r, c, name(is_bush[r, c])) for r in range(rows) for c in range(columns)]
    write_table(folder / "truth.csv", ("row", "column", "label"), truth)
    mask = np.zeros(picture.shape[:2], np.uint8)
    for row, column, label, _ in labelled:
        mask[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE] = 1 if label == "bush" else 2
    Image.fromarray(mask).save(folder / "mask.png")
    write_rds(folder / "rds", picture, labelled)


def make_traps(folder: Path, scale: Scale, photographs: Photographs) -> None:
    for part, first in (("sites", 0), ("new_sites", scale.sites)):
        rows = []
        for number in range(first, first + scale.sites):
            site, home = f"S{number:03}", SPECIES[number % len(SPECIES)]
            background = photographs.piece("china", *TRAP) * photographs.random.uniform(0.4, 1.0, 3)
            for k in range(PHOTOGRAPHS):
                species = home if photographs.random.random() < HOME else str(photographs.random.choice(SPECIES))
                write_jpeg(folder / part / site / f"{k:04}.jpg", photograph_of(species, background, photographs))
                rows.append((f"{site}/{k:04}.jpg", species, site, f"2024-{1 + k // 2:02}-{1 + number % 28:02}"))
        write_table(folder / part / "photos.csv", ("filename", "species", "site", "date"), rows)


def photograph_of(species: str, background: Any, photographs: Photographs) -> Any:
    """Put an animal before a site's background: a deer is high, a fox is long; both are pieces of the flower."""
    random = photographs.random
    pixels = background * random.uniform(0.8, 1.1) + random.normal(0.0, 8.0, background.shape)
    if species != "empty":
        height, width = (22, 10) if species == "deer" else (10, 22)
        y, x = random.integers(0, TRAP[0] - height), random.integers(0, TRAP[1] - width)
        rows, columns = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        body = (rows**2 + columns**2 <= 1)[..., None] * 0.6
        animal = photographs.piece("flower", height, width)
        place = (slice(y, y + height), slice(x, x + width))
        pixels[place] = (1 - body) * pixels[place] + body * animal
    return np.clip(pixels, 0, 255).astype(np.uint8)


def name(is_bush: Any) -> str:
    return "bush" if is_bush else "other"


def choose(is_bush: Any, count: int, random: np.random.Generator) -> list[tuple[int, int, str, str]]:
    """Draw ``count`` tiles for training and as many for validation, half of them bush."""
    found = []
    for value in (True, False):
        places = random.permutation(np.argwhere(is_bush == value))[:count]
        for number, (row, column) in enumerate(places):
            found.append((int(row), int(column), name(value), "train" if number < count // 2 else "validation"))
    return sorted(found)


def write_table(path: Path, header: tuple[str, ...], rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def write_rds(folder: Path, picture: Any, labelled: list[tuple[int, int, str, str]]) -> None:
    """Let R save the tiles: a file for each class and split, and one of all tiles without a label."""
    if shutil.which("Rscript") is None:
        print("R is not installed: no .rds files", file=sys.stderr)
        return
    folder.mkdir(exist_ok=True)
    known = {(row, column) for row, column, _, _ in labelled}
    rows, columns = picture.shape[0] // TILE, picture.shape[1] // TILE
    files = {"unlabelled": [(r, c) for r in range(rows) for c in range(columns) if (r, c) not in known]}
    for row, column, label, split in labelled:
        files.setdefault(f"{label}_{split}", []).append((row, column))
    with tempfile.TemporaryDirectory() as temporary:
        script, raw = Path(temporary, "save.R"), Path(temporary, "tiles")
        script.write_text(_TO_R, encoding="utf-8")
        for file, places in files.items():
            tiles = [picture[r * TILE : (r + 1) * TILE, c * TILE : (c + 1) * TILE] for r, c in places]
            raw.write_bytes(np.stack(tiles).transpose(0, 3, 1, 2).tobytes())  # x fastest, then y, channel, tile
            arguments = (script, raw, folder / f"{file}.rds", len(tiles), TILE)
            subprocess.run(["Rscript", "--vanilla", *map(str, arguments)], check=True)


MAKERS = {
    "bush": make_bush,
    "scenes": make_scenes,
    "cats_dogs": make_pets,
    "named": make_named,
    "traps": make_traps,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write stand-ins for the images of the example workflows.")
    parser.add_argument("destination", type=Path)
    parser.add_argument("--scale", choices=list(SCALES), default="small")
    parser.add_argument("--only", choices=list(MAKERS), help="make one of the folders; by default all")
    arguments = parser.parse_args()
    for seed, (folder, make) in enumerate(MAKERS.items(), 1):
        if arguments.only in {None, folder}:
            make(arguments.destination / folder, SCALES[arguments.scale], Photographs(seed))
    print(f"images in {arguments.destination}", file=sys.stderr)


if __name__ == "__main__":
    main()
