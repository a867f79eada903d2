"""Proposes a sweep for what was found: every value with the reason for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.shares import shares_of
from cnn_sweep.messages import plural
from cnn_sweep.sweep.identity import study_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnn_sweep.first_sweep.findings import Findings

TRIALS: Final = 30
MOST_PIXELS: Final = 128  # of the longer side, in a first sweep
_FILE_SOURCES: Final = ("folder", "files")
_GRID_TRIALS: Final = 8  # up to so many trials, a grid
_ADAPTIVE_TRIALS: Final = 20  # from so many, a search that learns
_UNBALANCED: Final = 3  # ratio of the largest class to the smallest
_FEW, _SOME, _MANY = 500, 2_000, 20_000  # images to train with
_MOST_FILTERS: Final = 128
# Decisions that people should hear of, if they were made.
_WARNED: Final = ("data.classes", "data.test", "data.seed", "training.class_weights")


@dataclass(frozen=True)
class Wishes:
    """What the user decided.

    Attributes:
        study: Name of the study, or None.
        size: (height, width) of the images, or None.
        trials: Number of configurations, or None.
        hours: Hours of training in all, or None.
    """

    study: str | None = None
    size: tuple[int, int] | None = None
    trials: int | None = None
    hours: float | None = None


@dataclass(frozen=True)
class Proposal:
    """A sweep file as data.

    Attributes:
        sections: Values of the top-level keys, in order.
        reasons: Why a value was chosen, by its dotted key, such as ``data.image_size``.
        alternative: Whether a pretrained base would suit these images, so that the file shows how.
        warnings: The reasons that people should see at once.
    """

    sections: Mapping[str, Any]
    reasons: Mapping[str, str]
    alternative: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Facts:
    """What the decisions depend on."""

    size: tuple[int, int]
    images: int
    trials: int | None
    hours: float | None

    @property
    def side(self) -> int:
        return min(self.size)

    @property
    def is_grid(self) -> bool:
        return self.hours is None and (self.trials or TRIALS) <= _GRID_TRIALS

    @property
    def is_adaptive(self) -> bool:
        return self.hours is not None or (self.trials or TRIALS) >= _ADAPTIVE_TRIALS

    @property
    def epochs(self) -> int:
        return next((n for limit, n in ((_FEW, 60), (_SOME, 30), (_MANY, 20)) if self.images < limit), 10)


def propose(found: Findings, wishes: Wishes) -> Proposal:
    """Propose a sweep.

    Args:
        found: What is known about the images.
        wishes: What the user decided.

    Raises:
        InputError: There are too few images of too many classes.
    """
    size, reason = image_size(found, wishes.size)
    reasons = {"data.image_size": reason}
    data = _data(found, size, reasons, wanted=wishes.size is not None)
    if data.get("classes"):  # some may be left out
        found = replace(found, counts={name: found.counts[name] for name in data["classes"]})
    facts = _Facts(size, round(found.images * _training_share(data)), wishes.trials, wishes.hours)
    sections: dict[str, Any] = {"study": wishes.study or proposed_name(found.name), "data": data}
    sections["model"] = {"layers": _layers(facts, reasons)}
    sections["space"] = _space(facts, reasons)
    sections["search"] = _search(facts, reasons)
    if facts.is_adaptive and facts.epochs >= 10:
        sections["pruner"] = {"asha": {"min_epochs": math.ceil(facts.epochs / 9), "reduction": 3}}
        reasons["pruner"] = "only the best third of the trials goes on at each rung, so poor ones cost few epochs"
    sections["training"] = _training(facts, found, reasons)
    sections["objective"] = {"metric": "val_macro_f1" if is_unbalanced(found) else "val_accuracy"}
    reasons["objective"] = (
        "the mean of F1 over the classes, since accuracy would be high for naming the commonest class only"
        if is_unbalanced(found)
        else "share of the validation images that are classified correctly"
    )
    small = facts.images < _SOME and facts.side >= 64 and found.data["source"] in _FILE_SOURCES
    warned = [key for key in _WARNED if key in reasons and not (key == "data.test" and data.get("test"))]
    return Proposal(sections, reasons, alternative=small, warnings=tuple(reasons[key] for key in warned))


def proposed_name(text: str) -> str:
    """Return a study's name for images that are called so."""
    return study_name(text) or "first_sweep"


def image_size(found: Findings, wanted: tuple[int, int] | None) -> tuple[tuple[int, int], str]:
    """Return (height, width) for training, and the reason."""
    look = found.look
    own = f"the images have {look.height} x {look.width} pixels"
    if look.smallest != look.largest:
        own = (
            f"the median is {look.height} x {look.width} pixels (from {look.smallest[0]} x {look.smallest[1]} to "
            f"{look.largest[0]} x {look.largest[1]})"
        )
    if wanted is not None:
        return wanted, f"as you asked; {own}"
    if found.data["source"] not in _FILE_SOURCES and max(look.height, look.width) <= MOST_PIXELS:
        return (look.height, look.width), own
    factor = min(1.0, MOST_PIXELS / max(look.height, look.width))
    size = _rounded(look.height * factor), _rounded(look.width * factor)
    if factor < 1:
        return size, f"{own}; {MOST_PIXELS} on the longer side keep a first sweep quick. Details need more"
    return size, own if size == (look.height, look.width) else f"{own}; rounded down, so that pooling halves it evenly"


def is_unbalanced(found: Findings) -> bool:
    """Return whether the largest class has at least three times as many images as the smallest."""
    counts = [count for count in found.counts.values() if count]
    return max(counts) >= _UNBALANCED * min(counts)


def _rounded(pixels: float) -> int:
    step = 16 if pixels >= 64 else 8 if pixels >= 32 else 4
    return max(step, int(pixels) // step * step)


def _training_share(data: Mapping[str, Any]) -> float:
    return 1.0 - sum(share for key in ("validation", "test") if isinstance(share := data.get(key), float))


def _data(found: Findings, size: tuple[int, int], reasons: dict[str, str], *, wanted: bool) -> dict[str, Any]:
    """Return the section ``data``; `shares` decides what its sets are."""
    data = dict(found.data)
    shares = shares_of(found)
    data |= shares.keys
    reasons |= {f"data.{key}": reason for key, reason in shares.reasons.items()}
    if found.group is not None and any(isinstance(value, float) for value in shares.keys.values()):
        reasons["data.seed"] = _group_warning(found)
        data["seed"] = 0
    look = found.look
    if data["source"] in _FILE_SOURCES or wanted or size != (look.height, look.width):
        data["image_size"] = size[0] if size[0] == size[1] else list(size)
    if data["source"] in _FILE_SOURCES:
        if look.has_several_shapes:
            data["fit"] = "pad"
            reasons["data.fit"] = "the images have several shapes; black borders keep proportions (or: crop, stretch)"
        data["color"] = "grayscale" if look.is_grey else "rgb"
        reasons["data.color"] = (
            f"none of {look.sampled} images looked at has colours" if look.is_grey else "some images have colours"
        )
    return data


def _group_warning(found: Findings) -> str:
    group = found.group
    if group is None:
        raise AssertionError("no group to warn of")
    return (
        f"{group.where} ({', '.join(group.examples)}{', …' * (group.count > len(group.examples))}) forms "
        f"{group.count} groups of images. If these are sites, cameras or days, images of one group will be in several "
        "sets, so scores will be too optimistic. To keep groups together, name them with the key `group` of `data`, or "
        "make the sets yourself: folders, or a column with train, validation and test"
    )


def _blocks(side: int) -> int:
    """Return the number of halvings that leave a map of at least four pixels."""
    return max(1, min(5, int(math.log2(max(side, 8) / 4))))


def _layers(facts: _Facts, reasons: dict[str, str]) -> list[Any]:
    filters = f"min($filters * 2 ** $index, {_MOST_FILTERS})"
    conv = {"filters": filters, "kernel_size": 3, "padding": "same", "activation": "relu"}
    # A side of fewer than four pixels would otherwise shrink to nothing.
    pool: Any = 2 if facts.side >= 4 else {"size": 2, "padding": "same"}
    times: Any = "$blocks" if not facts.is_grid and _blocks(facts.side) > 1 else _blocks(facts.side)
    is_small = facts.images < _SOME and facts.side >= 64
    most = _blocks(facts.side)
    reasons["model"] = (
        f"each block halves the map and doubles the filters; {plural(most, 'block leaves', 'blocks leave')} "
        f"{facts.size[0] // 2**most} x {facts.size[1] // 2**most} of {facts.size[0]} x {facts.size[1]} pixels. "
        + (
            "global_pool keeps the weights few, since the images are few"
            if is_small
            else "flatten keeps where things are"
        )
    )
    return [
        {"repeat": {"times": times, "layers": [{"conv2d": conv}, {"pool": pool}]}},
        "global_pool" if is_small else "flatten",
        {"dropout": "$dropout"},
        {"dense": {"units": 64, "activation": "relu"}},
        {"output": "softmax"},
    ]


def _space(facts: _Facts, reasons: dict[str, str]) -> dict[str, Any]:
    filters = [8, 16] if facts.images < _FEW else [16, 32]
    reasons["space.filters"] = "of the first block"
    if facts.is_grid:
        reasons["space"] = "few trials, so few values: what usually matters most"
        return {
            "learning_rate": {"low": 3.0e-4, "high": 3.0e-3, "log": True, "points": 2},
            "filters": filters,
            "dropout": [0.2, 0.5],
        }
    most = _blocks(facts.side)
    reasons["space"] = "what usually matters most; a list is a set of choices, low and high a range"
    reasons["space.learning_rate"] = "Keras's default for adam is 0.001"
    batches = next((n for limit, n in ((_FEW, 8), (_SOME, 16), (_MANY, 32)) if facts.images < limit), 64)
    reasons["space.batch_size"] = f"about {facts.images:,} images to train with"
    return {
        **({"blocks": [most - 1, most]} if most > 1 else {}),
        "filters": filters,
        "dropout": {"low": 0.0, "high": 0.5},
        "learning_rate": {"low": 1.0e-4, "high": 1.0e-2, "log": True},
        "optimizer": ["adam", "rmsprop"],
        "batch_size": [batches, 2 * batches],
    }


def _search(facts: _Facts, reasons: dict[str, str]) -> dict[str, Any]:
    if facts.hours is not None:
        reasons["search"] = "learns from the results so far; begins no trial after so many hours of training"
        return {"method": "tpe", "hours": facts.hours}
    trials = facts.trials or TRIALS
    if facts.is_grid and trials >= _GRID_TRIALS:
        reasons["search"] = "all combinations in order"
        return {"method": "grid", "trials": trials}
    if facts.is_adaptive:
        reasons["search"] = "learns from the results so far, after 10 random trials"
        return {"method": "tpe", "trials": trials}
    reasons["search"] = f"independent draws; from {_ADAPTIVE_TRIALS} trials on, tpe, which learns from results, pays"
    return {"method": "random", "trials": trials}


def _training(facts: _Facts, found: Findings, reasons: dict[str, str]) -> dict[str, Any]:
    training: dict[str, Any] = {"epochs": facts.epochs}
    reasons["training.epochs"] = f"of about {facts.images:,} images each"
    if facts.is_grid:
        training["batch_size"] = 16 if facts.images < _SOME else 32
        training["optimizer"] = {"name": "adam", "learning_rate": "$learning_rate"}
    else:
        training["batch_size"] = "$batch_size"
        training["optimizer"] = {"name": "$optimizer", "learning_rate": "$learning_rate"}
    if not facts.is_adaptive:
        training["early_stopping"] = {"patience": max(3, facts.epochs // 4)}
        reasons["training.early_stopping"] = "ends a trial that no longer improves"
    if is_unbalanced(found):
        counts = {name: count for name, count in found.counts.items() if count}
        most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        training["class_weights"] = "balanced"
        reasons["training.class_weights"] = (
            f"{_word(most)} has {counts[most]:,} images, {_word(least)} {counts[least]:,}, "
            "so rare classes get more weight"
        )
    if facts.images < 5_000 and facts.side >= 16:
        training["augmentation"] = _augmentation(found, reasons)
    return training


def _augmentation(found: Findings, reasons: dict[str, str]) -> dict[str, Any]:
    changes: dict[str, Any] = {"rotation": 10, "width_shift": 0.1, "height_shift": 0.1, "zoom": 0.1}
    if all(len(name) == 1 for name in found.counts):
        reasons["training.augmentation"] = "few images; no flips, since these seem to be digits or letters"
        return changes
    reasons["training.augmentation"] = (
        "few images, so each is changed a little each time; leave out horizontal_flip if left and right matter"
    )
    return changes | {"horizontal_flip": True}


def _word(name: str) -> str:
    return name if len(name) <= 30 else f"{name[:29]}…"


def check_classes(found: Findings) -> None:
    """Refuse data without two classes.

    Raises:
        InputError: There are fewer than two.
    """
    usable = [name for name, count in found.counts.items() if count]
    if len(usable) < 2:
        only = f"only one, {usable[0]}" if usable else "none"
        raise InputError(f"{found.what}: two classes with labelled images are needed, but there is {only}")
