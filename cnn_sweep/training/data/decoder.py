"""One process that decodes parts of a data set: it is told their numbers and writes pixels where they belong.

A part is up to `PART` files of one split. Its pixels go into the split's array file, of which nobody else writes
those bytes; then a small file says that the part is done. So parts may be done twice, and by anybody.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_sweep.training.data.images import ImageOptions, UnusableImageError, content_digest, decode_into, read_bytes

PART = 256  # files
_BLOCK_BYTES = 2**16  # written at a time: pixels that are still in the processor's cache
JOB = "job.json"
NARROW = "narrow"  # folder of the second pass, over files of 16 bits that use fewer


@dataclass(frozen=True)
class SplitJob:
    """What is to be done for one split.

    Attributes:
        name: Of the split.
        folder: Where the files' names start.
        names: The files.
        mirror: Whether the mirror images follow, all of them after the last image.
        offset: Where pixels begin in the array file, in bytes.
    """

    name: str
    folder: str
    names: list[str]
    mirror: bool
    offset: int

    @property
    def rows(self) -> int:
        """Images in the array file."""
        return len(self.names) * (2 if self.mirror else 1)

    @property
    def parts(self) -> int:
        """Number of parts."""
        return -(-len(self.names) // PART)


class Decoder:
    """Decodes parts of the job in a folder.

    Args:
        work: The folder.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        job = json.loads((work / JOB).read_text(encoding="utf-8"))
        self.options = ImageOptions.from_data(job["options"])
        self.splits = {split["name"]: SplitJob(**split) for split in job["splits"]}
        self._row_bytes = int(np.prod(self.options.shape))
        self._pixels = np.zeros((max(1, _BLOCK_BYTES // self._row_bytes), *self.options.shape), np.uint8)

    def do(self, split: str, part: int) -> None:
        """Decode a part, unless it is done.

        Raises:
            OSError: The disk is full or fails.
        """
        done = part_file(self._work, split, part)
        if done.exists():
            return
        job = self.splits[split]
        first, last = part * PART, min((part + 1) * PART, len(job.names))
        report: dict[str, Any] = {"bad": [], "converted": [], "files": [], "peak": 0}
        fd = os.open(pixels_file(self._work, job.name), os.O_WRONLY | os.O_CLOEXEC)
        try:
            for start in range(first, last, len(self._pixels)):
                pixels = self._pixels[: last - start]
                for row, image in enumerate(pixels, start):
                    self._decode(image, job, row, report)
                self._write(fd, job, start, pixels)
        finally:
            os.close(fd)
        # Not forced to the disk: after a crash of the machine all parts are done again, since pixels are not either.
        aside = done.with_name(f".{done.name}.{os.getpid()}")
        aside.write_text(json.dumps(report), encoding="utf-8")
        aside.replace(done)

    def _decode(self, image: Any, job: SplitJob, row: int, report: dict[str, Any]) -> None:
        digest = ""
        try:
            content = read_bytes(os.path.join(job.folder, job.names[row]))  # noqa: PTH118 - 25,000 times
            conversion = decode_into(image, content, self.options)
            if conversion.remark:
                report["converted"].append([row, conversion.remark])
            report["peak"] = max(report["peak"], conversion.peak)
            digest = content_digest(content)
        except UnusableImageError as error:
            report["bad"].append([row, str(error)])
        report["files"].append(digest)

    def _write(self, fd: int, job: SplitJob, first: int, pixels: Any) -> None:
        _write_at(fd, pixels, job.offset + first * self._row_bytes)
        if job.mirror:
            mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
            _write_at(fd, mirrored, job.offset + (len(job.names) + first) * self._row_bytes)


def part_file(work: Path, split: str, part: int) -> Path:
    """Return the file that says that a part is done."""
    return work / f"part_{split}_{part:06d}.json"


def pixels_file(work: Path, split: str) -> Path:
    """Return the array file of a split while it is being filled: a row for each file, whether it can be read or not."""
    return work / f"pixels_{split}.npy"


def _write_at(fd: int, pixels: Any, offset: int) -> None:
    view = memoryview(pixels).cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def main() -> None:
    """Do the parts whose names come on standard input, and answer each with a line."""
    decoder = Decoder(Path(sys.argv[1]))
    for line in sys.stdin:
        split, part = line.split()
        decoder.do(split, int(part))
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
