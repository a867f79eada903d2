"""A folder with a few images, labels, arrays and tables, for sweeps of every source of data."""

from __future__ import annotations

import gzip
import struct

import numpy as np
from PIL import Image

SIDE = 8  # pixels


def write_images(folder):
    """Write a folder of images in two classes, the same as arrays and as R's lists, their tables, and a picture."""
    random = np.random.default_rng(0)
    x = random.integers(0, 255, (24, SIDE, SIDE), dtype=np.uint8)
    y = np.arange(24, dtype=np.int32) % 2
    np.savez(folder / "a.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    for kind in "ab":
        (folder / "images" / kind).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{number}.png")
        (folder / f"{kind}.rds").write_bytes(rds([x[number] / 255 for number in range(6)]))
    Image.fromarray(random.integers(0, 255, (4 * SIDE, 4 * SIDE, 3), dtype=np.uint8)).save(folder / "picture.png")
    lines = [f"{kind}/{number}.png,{kind}\n" for kind in "ab" for number in range(4)]
    (folder / "labels.csv").write_text("filename,label\n" + "".join(lines), encoding="utf-8")
    tiles = [f"{number // 4},{number % 4},{'ab'[number % 2]}\n" for number in range(16)]
    (folder / "tiles.csv").write_text("row,column,label\n" + "".join(tiles), encoding="utf-8")
    (folder / "rows.csv").write_text("filters,rate\n2,0.1\n4,\n", encoding="utf-8")
    (folder / "common.yaml").write_text("training: {epochs: 3}\n", encoding="utf-8")
    (folder / "network.py").write_text("def build(params, data):\n    return None\n", encoding="utf-8")


def rds(images):
    """Return an R list of images, (width, height, 1, 1), as `saveRDS` writes it."""
    body = b"X\n" + struct.pack(">iii", 3, 0x00040203, 0x00030500) + struct.pack(">i", 5) + b"UTF-8"
    body += _item(19) + struct.pack(">i", len(images))
    for image in images:
        shape = struct.pack(">4i", *image.shape, 1, 1)
        body += _item(14, attributes=True) + struct.pack(">i", image.size) + image.T.astype(">f8").tobytes()
        name = _item(1) + struct.pack(">i", 0x00040009) + struct.pack(">i", 3) + b"dim"
        body += struct.pack(">i", 0x00000402) + name + _item(13) + struct.pack(">i", 4) + shape + _item(254)
    return gzip.compress(body, mtime=0)


def _item(kind, *, attributes=False):
    return struct.pack(">i", kind | (0x200 if attributes else 0))
