"""Decodes all image files of a data set on all cores, and continues where an earlier process stopped.

Decoding processes (`main`) receive the numbers of *parts*, each up to `PART` files of one split. The pixels of a part
go into its own region of the split's array file; then a small file marks the part as done. Therefore any process may
decode a part again without harm.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.journal.filesystem import write_aside
from cnn_sweep.journal.identity import current
from cnn_sweep.training.data.bit_depth import WHOLE, bits_for, narrowed_note
from cnn_sweep.training.data.dataset import UNLABELLED, array_file
from cnn_sweep.training.data.image_decoder import (
    DEEP_COLOR,
    BadImage,
    ImageOptions,
    Remark,
    UnusableImageError,
    content_digest,
    decode_into,
    read_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from cnn_sweep.training.data.raw_images import FileList, Listing

PART = 256  # files in a part
_BLOCK_BYTES = 2**16  # written at once; small enough to stay in the CPU's cache
JOB = "job.json"
NARROW = "narrow"  # folder of the second pass, for 16-bit files that use fewer bits
_FEW = 2 * PART  # up to this many files are decoded in this process, because starting others would take longer


@dataclass(frozen=True)
class SplitJob:
    """The files to decode for one split.

    Attributes:
        name: Name of the split.
        folder: Folder that the file names are relative to.
        names: The files.
        mirror: Whether mirror images of all images follow after the last image.
        offset: Bytes before the pixels in the array file.
    """

    name: str
    folder: str
    names: list[str]
    mirror: bool
    offset: int

    @property
    def rows(self) -> int:
        """Number of images in the array file, including mirror images."""
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
        """Decode a part, unless it is already done.

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
        # Neither this file nor the pixels are flushed to disk: after a machine crash, all parts are decoded again.
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
    """Return the file that marks a part as done."""
    return work / f"part_{split}_{part:06d}.json"


def pixels_file(work: Path, split: str) -> Path:
    """Return the array file of a split during decoding: one row per file, readable or not."""
    return work / f"pixels_{split}.npy"


def _write_at(fd: int, pixels: Any, offset: int) -> None:
    view = memoryview(pixels).cast("B")
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


@dataclass(frozen=True)
class Decoded:
    """Result of decoding.

    Attributes:
        kept: By split, the indices of decoded files; their pixels are the rows of the array file.
        bad: By split, files that could not be decoded.
        converted: By split, images that were changed beyond resizing, and how.
        digests: By split, one digest of the content per decoded file.
        fingerprint: SHA-256 of labelled files, their labels, and the conversion options.
        options: The conversion of each image, including the bits that 16-bit files use.
        notes: Remarks for the user.
    """

    kept: Mapping[str, npt.NDArray[np.intp]]
    bad: Mapping[str, list[BadImage]]
    converted: Mapping[str, list[Remark]]
    digests: Mapping[str, list[str]]
    fingerprint: str
    options: ImageOptions
    notes: tuple[str, ...] = ()


def decode_all(listing: Listing, work: Path, *, mirror: bool, observe: Callable[[int, int], None]) -> Decoded:
    """Write the array files of all splits into a folder.

    12-bit cameras write 16-bit files. If no labelled image has a value that needs 16 bits, and the sweep does not set
    ``bits``, all files are decoded again with the number of bits in use. All images share that number, because scaling
    each image by its own peak would make dark images bright.

    Args:
        listing: The files.
        work: An empty folder, or one with an unfinished decoding.
        mirror: Whether to add mirror images to the training set.
        observe: Called from time to time with the number of files done and the total.

    Raises:
        OSError: The disk is full or fails.
        EnvironmentFault: A decoding process died.
    """
    decoder = _decode(listing, work, mirror=mirror, observe=observe)
    peak, bits = _peak(decoder, work), listing.options.bits
    if bits is not None or not peak or bits_for(peak) == WHOLE:
        return _collect(decoder, work, listing, work)
    bits = bits_for(peak)
    narrowed = replace(listing, options=replace(listing.options, bits=bits))
    scratch = work / NARROW
    scratch.mkdir(exist_ok=True)
    decoder = _decode(narrowed, scratch, mirror=mirror, observe=observe)
    return replace(_collect(decoder, scratch, narrowed, work), notes=(narrowed_note("the images", peak),))


def _decode(listing: Listing, work: Path, *, mirror: bool, observe: Callable[[int, int], None]) -> Decoder:
    """Decode all remaining parts."""
    _begin(listing, work, mirror=mirror)
    decoder = Decoder(work)
    parts = [(split, part) for split, job in decoder.splits.items() for part in range(job.parts)]
    todo = [(split, part) for split, part in parts if not part_file(work, split, part).exists()]
    total = sum(len(job.names) for job in decoder.splits.values())
    done = total - sum(_size(decoder.splits[split], part) for split, part in todo)
    observe(done, total)
    for split, part in _run(decoder, work, todo):
        done += _size(decoder.splits[split], part)
        observe(done, total)
    return decoder


def _peak(decoder: Decoder, work: Path) -> int:
    """Return the largest pixel value of labelled images with more than 8 bits per channel; 0 without such images."""
    reports = [
        json.loads(part_file(work, name, part).read_text(encoding="utf-8"))
        for name, job in decoder.splits.items()
        if name != UNLABELLED
        for part in range(job.parts)
    ]
    return max((report.get("peak", 0) for report in reports), default=0)


def _begin(listing: Listing, work: Path, *, mirror: bool) -> None:
    """Write the job file and create the arrays; discard parts from before a reboot, which may be incomplete."""
    boot = current().boot_id
    if (work / JOB).exists():
        if json.loads((work / JOB).read_text(encoding="utf-8"))["boot"] == boot:
            return
        for file in work.glob("part_*.json"):  # the pixels of such a part may not have reached the disk
            file.unlink()
    splits = [_make_room(name, files, listing, work, mirror=mirror) for name, files in listing.splits.items()]
    job = {"boot": boot, "options": listing.options.to_data(), "splits": [vars(split) for split in splits]}
    write_aside(work / JOB, json.dumps(job).encode())


def _make_room(name: str, files: FileList, listing: Listing, work: Path, *, mirror: bool) -> SplitJob:
    mirrored = mirror and name == "train"
    shape = (len(files.names) * (2 if mirrored else 1), *listing.options.shape)
    array = np.lib.format.open_memmap(pixels_file(work, name), mode="w+", dtype=np.uint8, shape=shape)
    return SplitJob(name, str(files.folder.resolve()), list(files.names), mirrored, int(array.offset))


def _size(job: SplitJob, part: int) -> int:
    return min(PART, len(job.names) - part * PART)


def _run(decoder: Decoder, work: Path, todo: list[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    cores = len(os.sched_getaffinity(0))
    if sum(_size(decoder.splits[split], part) for split, part in todo) <= _FEW or cores == 1:
        for split, part in todo:
            decoder.do(split, part)
            yield split, part
    else:
        yield from _run_processes(work, todo, min(cores, len(todo)))


def _run_processes(work: Path, todo: list[tuple[str, int]], count: int) -> Iterator[tuple[str, int]]:
    """Distribute parts to decoding processes, which end with this one."""
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for part in todo:
        waiting.put(part)
    done: queue.SimpleQueue[tuple[str, int] | str] = queue.SimpleQueue()
    processes = [_start(work) for _ in range(count)]
    for process in processes:
        threading.Thread(target=_feed, args=(process, waiting, done), daemon=True).start()
    try:
        for _ in todo:
            answer = done.get()
            if isinstance(answer, str):
                raise EnvironmentFault(f"{work}: an image decoder died: {answer}")
            yield answer
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _start(work: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cnn_sweep.training.data.parallel_decoding", str(work)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        # A decoding process uses one thread, so numerical libraries must not start more.
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def _feed(process: subprocess.Popen[str], waiting: Any, done: Any) -> None:
    """Send parts to a process, one after another."""
    try:
        while True:
            split, part = waiting.get_nowait()
            process.stdin.write(f"{split} {part}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            if not process.stdout.readline():  # type: ignore[union-attr]
                done.put(_last_words(process))
                return
            done.put((split, part))
    except queue.Empty:
        return
    except (OSError, ValueError) as error:
        done.put(str(error))


def _last_words(process: subprocess.Popen[str]) -> str:
    words = process.stderr.read().strip() if process.stderr else ""
    return words.rpartition("\n")[2] or f"exit code {process.wait()}"


def _collect(decoder: Decoder, work: Path, listing: Listing, into: Path) -> Decoded:
    digest = hashlib.sha256(json.dumps(decoder.options.to_data(), sort_keys=True).encode())
    kept: dict[str, Any] = {}
    bad: dict[str, list[BadImage]] = {}
    converted: dict[str, list[Remark]] = {}
    digests: dict[str, list[str]] = {}
    for name, job in decoder.splits.items():
        reports = [json.loads(part_file(work, name, part).read_text(encoding="utf-8")) for part in range(job.parts)]
        lost = {row: reason for report in reports for row, reason in report["bad"]}
        files = [text for report in reports for text in report["files"]]
        kept[name] = np.array([row for row in range(len(job.names)) if row not in lost], np.intp)
        bad[name] = [BadImage(job.names[row], reason) for row, reason in lost.items()]
        converted[name] = [Remark(job.names[row], done) for report in reports for row, done in report["converted"]]
        digests[name] = [text for text in files if text]
        if name != UNLABELLED:
            digest.update(f"{name} {len(kept[name])} mirror={job.mirror}\n".encode())
            digest.update("".join(digests[name]).encode())
            digest.update(np.ascontiguousarray(listing.splits[name].y[kept[name]]).data)
            if any(DEEP_COLOR in remark.reason for remark in converted[name]):
                digest.update(DEEP_COLOR.encode())  # earlier versions decoded these files to other pixels
        _close_gaps(work, job, kept[name], into)
    return Decoded(kept, bad, converted, digests, digest.hexdigest(), listing.options)


def _close_gaps(work: Path, job: SplitJob, kept: npt.NDArray[np.intp], into: Path) -> None:
    """Remove the rows of files that could not be decoded, and give the array file its final name."""
    pixels, final = pixels_file(work, job.name), array_file(into, "x", job.name)
    if not pixels.exists():
        return  # done before
    if len(kept) == len(job.names):
        pixels.replace(final)
        return
    full: Any = np.load(pixels, mmap_mode="r")
    rows = np.concatenate([kept, kept + len(job.names)]) if job.mirror else kept
    aside = final.with_name(f".{final.name}")
    whole = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(rows), *full.shape[1:]))
    for first in range(0, len(rows), PART):
        whole[first : first + PART] = full[rows[first : first + PART]]
    whole.flush()
    aside.replace(final)
    pixels.unlink()


def main() -> None:
    """Decode the parts named on standard input, and echo each line when its part is done."""
    decoder = Decoder(Path(sys.argv[1]))
    for line in sys.stdin:
        split, part = line.split()
        decoder.do(split, int(part))
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
