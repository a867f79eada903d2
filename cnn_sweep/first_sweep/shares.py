"""Which images are for training, validation and test, given what the user has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.messages import few, plural

if TYPE_CHECKING:
    from cnn_sweep.first_sweep.findings import Findings

_LISTS_CLASSES: Final = ("folder", "files")  # sources that can leave out classes
_ENOUGH_FOR_THREE: Final = 5  # images of a class that are in training, validation and test set
_LARGEST: Final = 0.4  # share of the validation set


@dataclass(frozen=True)
class Shares:
    """Keys of the section ``data`` that divide the images, and the reasons."""

    keys: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def shares_of(found: Findings) -> Shares:
    """Return the sets to split off from the images.

    Raises:
        InputError: There are too few images of too many classes.
    """
    if "split" in found.data.get("labels", {}):
        return Shares(reasons={"labels": f"the column {found.data['labels']['split']!r} divides the images"})
    missing = [name for name in ("validation", "test") if name not in found.sets]
    if not missing:
        return Shares(reasons={"test": "kept sealed until `cnn-sweep finalize`, for an unbiased final score"})
    counts, shares = {name: count for name, count in found.counts.items() if count}, Shares()
    if single := [name for name, count in counts.items() if count == 1]:
        counts = {name: count for name, count in counts.items() if count > 1}
        _leave_out(found, single, counts, shares)
    total, fewest = sum(counts.values()), min(counts.values())
    usual = 0.2 if total < 10_000 else 0.15 if total < 100_000 else 0.1
    if "validation" in missing:
        _validation(shares, len(counts), total, usual)
    if "test" in missing:
        _test(shares, counts, total, usual, fewest)
    return shares


def _leave_out(found: Findings, single: list[str], kept: Mapping[str, int], shares: Shares) -> None:
    """Leave out classes with a single image, which cannot be in two sets."""
    many = plural(len(single), "class has", "classes have")
    if found.data["source"] not in _LISTS_CLASSES or len(kept) < 2:
        raise InputError(
            f"{many} only one image ({few(single)}), but to be in both the training and the validation set takes two. "
            "Add images, or leave these classes out"
        )
    given = found.data.get("classes")
    shares.keys["classes"] = {name: given[name] for name in kept} if isinstance(given, Mapping) else list(kept)
    shares.reasons["classes"] = f"{many} only one image, so left out: {few(single)}"


def _validation(shares: Shares, classes: int, total: int, usual: float) -> None:
    share = max(usual, -(-100 * classes // total) / 100)  # at least one image of each class, in whole per cent
    if share > _LARGEST:
        raise InputError(
            f"{plural(total, 'image')} of {plural(classes, 'class', 'classes')} are too few: the validation set needs "
            "an image of each class, and training several. Add images, or leave classes out"
        )
    shares.keys["validation"] = share
    shares.reasons["validation"] = f"{share:.0%} of {total:,} images, drawn from each class in proportion"


def _test(shares: Shares, counts: Mapping[str, int], total: int, usual: float, fewest: int) -> None:
    taken = shares.keys.get("validation", 0.0)
    if fewest < _ENOUGH_FOR_THREE or usual * total < len(counts) or taken > usual:
        rare = few([name for name, count in counts.items() if count == fewest], 3)
        shares.keys["test"] = 0
        shares.reasons["test"] = (
            f"none, since there are only {fewest} images of {rare}; an unbiased final score needs a test set"
        )
        return
    shares.keys["test"] = usual
    shares.reasons["test"] = "kept sealed until `cnn-sweep finalize`, for an unbiased final score"
