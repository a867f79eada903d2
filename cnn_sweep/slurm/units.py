"""Parsers for Slurm's notations of time, memory and countable resources.

The notations are those of the manual pages of sbatch(1) and sacctmgr(1).
"""

from __future__ import annotations

import math
import re

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")
_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGTkmgt]?)(?:i?[Bb])?[cn]?")
_WEIGHT = re.compile(r"(?P<number>\d*\.?\d+)(?P<unit>[KMGTkmgt]?)")
_MB = {"K": 1 / 1024, "": 1, "M": 1, "G": 1024, "T": 1024**2}
_UNLIMITED = {"", "unlimited", "infinite", "none", "n/a", "(null)", "-1"}


def minutes(text: str) -> int:
    """Read a time limit in minutes, rounded up.

    The notations are ``minutes``, ``minutes:seconds``, ``hours:minutes:seconds``, ``days-hours``,
    ``days-hours:minutes`` and ``days-hours:minutes:seconds``.

    >>> minutes("90"), minutes("1:30:00"), minutes("2-12"), minutes("0:30")
    (90, 90, 3600, 1)

    Raises:
        ValueError: The text has none of these forms.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time; write minutes (90) or hours:minutes:seconds (1:30:00)")
    numbers = [int(part) for part in match.group("first", "second", "third") if part is not None]
    if match["days"] is not None:
        hours, mins, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, (mins, seconds) = 0, (*numbers, 0)[:2]
    return int(match["days"] or 0) * 1440 + hours * 60 + mins + math.ceil(seconds / 60)


def sbatch_time(minutes: int) -> str:
    """Return minutes in the notation of sbatch.

    >>> sbatch_time(90), sbatch_time(7 * 1440)
    ('1:30:00', '7-00:00:00')
    """
    days, rest = divmod(minutes, 1440)
    clock = f"{rest // 60}:{rest % 60:02}:00"
    return f"{days}-{clock.zfill(8)}" if days else clock


def limit_minutes(text: str) -> int | None:
    """Read a time limit in minutes; None if unlimited."""
    return None if text.strip().lower() in _UNLIMITED else minutes(text)


def limit_count(text: str) -> int | None:
    """Read a count limit; None if unlimited."""
    return None if text.strip().lower() in _UNLIMITED else int(text)


def limit_memory_mb(text: str) -> int | None:
    """Read a limit on memory in MB; None if unlimited, which Slurm also writes as 0."""
    return None if text.strip().lower() in {*_UNLIMITED, "0"} else memory_mb(text)


def memory_mb(text: str) -> int:
    """Read an amount of memory in MB, rounded up.

    >>> memory_mb("8G"), memory_mb("500"), memory_mb("1.5GB")
    (8192, 500, 1536)

    Raises:
        ValueError: The text is not a number with an optional unit K, M, G or T.
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount of memory; write MB (8000) or a unit (8G)")
    return math.ceil(float(match["number"]) * _MB[match["unit"].upper()])


def resources(text: str) -> dict[str, int]:
    """Read trackable resources such as ``cpu=8,mem=4G,gres/gpu=2``; memory is in MB.

    >>> resources("cpu=8,mem=4G,gres/gpu=2")
    {'cpu': 8, 'mem': 4096, 'gres/gpu': 2}
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, _, amount = part.partition("=")
        if amount.strip().lower() not in _UNLIMITED:
            found[name.strip()] = memory_mb(amount)  # plain numbers are counts
    return found


def billing_weights(text: str) -> dict[str, float]:
    """Read TRESBillingWeights as billing units of one CPU, one MB of memory, one GPU.

    >>> billing_weights("CPU=1.0,Mem=0.5G,GRES/gpu=8")
    {'cpu': 1.0, 'mem': 0.00048828125, 'gres/gpu': 8.0}
    """
    found = {}
    for part in filter(None, text.split(",")):
        name, _, weight = part.strip().partition("=")
        match = _WEIGHT.fullmatch(weight)
        if match is not None:
            found[name.lower()] = float(match["number"]) / _MB[match["unit"].upper()]
    return found


def gres(text: str) -> dict[str, int]:
    """Read generic resources such as ``gpu:a100:2(S:0-1),tpu:1`` as counts by ``name:type``.

    >>> gres("gpu:a100:2(S:0-1),tpu:1,gpu")
    {'gpu:a100': 2, 'tpu': 1, 'gpu': 1}
    """
    found: dict[str, int] = {}
    for part in re.split(r",(?![^(]*\))", text.strip()):
        words = re.sub(r"\(.*\)", "", part).strip().removeprefix("gres:").removeprefix("gres/").split(":")
        if words[0].lower() in _UNLIMITED:
            continue
        counted = len(words) > 1 and words[-1].rstrip("KMkm").isdigit()
        name = ":".join(words[:-1] if counted else words)
        count = int(words[-1]) if counted and words[-1].isdigit() else 1
        found[name] = found.get(name, 0) + count
    return found
