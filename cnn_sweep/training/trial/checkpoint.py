"""The state of an unfinished trial as bytes, and reading them from a file.

Layout: magic, SHA-256 of the rest (32 bytes), length of the JSON header (8 bytes, little endian), header, arrays.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_sweep.errors import CnnSweepError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_MAGIC = b"cnn-sweep checkpoint 1\n"
_DIGEST_BYTES = 32
_START = len(_MAGIC) + _DIGEST_BYTES


class CheckpointError(CnnSweepError):
    """A checkpoint is damaged, or belongs to another trial or version."""


@dataclass(frozen=True)
class Read:
    """The result of reading a checkpoint file.

    Attributes:
        state: The checkpoint; None if it cannot be used.
        reason: Why it cannot be used; None if it can.
    """

    state: bytes | None
    reason: str | None = None


def pack(meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return ``meta`` (JSON data, NaN and infinity allowed) and ``arrays`` as bytes with a checksum."""
    layout = [{"name": name, "dtype": array.dtype.str, "shape": list(array.shape)} for name, array in arrays.items()]
    header = json.dumps({"meta": meta, "arrays": layout}).encode()
    parts = [
        struct.pack("<Q", len(header)),
        header,
        *(np.ascontiguousarray(a).tobytes() for a in arrays.values()),
    ]
    body = b"".join(parts)
    return b"".join((_MAGIC, hashlib.sha256(body).digest(), body))


def unpack(state: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the packed ``meta`` and ``arrays``; the arrays are read-only.

    Raises:
        CheckpointError: The bytes are damaged, or from another version.
    """
    reason = damage(state)
    if reason is not None:
        raise CheckpointError(f"the checkpoint cannot be used: {reason}")
    (length,) = struct.unpack_from("<Q", state, _START)
    start = _START + 8
    header = json.loads(state[start : start + length])
    offset = start + length
    arrays: dict[str, Array] = {}
    for entry in header["arrays"]:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        array = np.frombuffer(state, dtype=dtype, count=count, offset=offset)
        arrays[entry["name"]] = array.reshape(entry["shape"])
        offset += array.nbytes
    return header["meta"], arrays


def epochs_in(state: bytes) -> int:
    """Return the number of complete epochs in a checkpoint.

    Raises:
        CheckpointError: The bytes are damaged, or from another version.
    """
    return int(unpack(state)[0]["progress"]["epoch"])


def damage(state: bytes) -> str | None:
    """Return a description of the damage to a checkpoint; None if it is sound."""
    if not state.startswith(_MAGIC):
        return "it is not a checkpoint of this version"
    if len(state) < _START + 8:
        return f"it ends after {len(state)} bytes"
    if hashlib.sha256(memoryview(state)[_START:]).digest() != state[len(_MAGIC) : _START]:
        return "its checksum does not match its content"
    return None


def read(path: Path) -> Read:
    """Read a checkpoint file; for a missing or damaged file, return the reason instead of raising."""
    try:
        state = path.read_bytes()
    except OSError as error:
        return Read(None, f"{path.name}: {error.strerror or error}")
    reason = damage(state)
    return Read(None, f"{path.name}: {reason}") if reason else Read(state)
