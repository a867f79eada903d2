"""Which networks make one model together: an ensemble, calibrated probabilities, a network trained with all images."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, Any

from cnn_sweep.messages import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Mixture:
    """A model that is not a trial's own.

    Its probabilities are the mean over folds of those of each fold, scaled by the temperature; those of a fold are the
    mean of its networks. The temperature thus scales what it was fitted to: the mean of one fold's networks, on that
    fold's validation images.

    Attributes:
        folds: For each fold, the trials whose networks are averaged, each as often as it weighs; one fold without
            cross-validation.
        is_ensemble: Whether the trials were chosen to be averaged.
        temperature: By which logarithms of probabilities are divided; None to leave them.
        epochs: If the network of the first trial is trained again, with all images but those of the test set: the
            number of its epochs. It then stands for all networks. None otherwise.
    """

    folds: tuple[tuple[int, ...], ...]
    is_ensemble: bool = False
    temperature: float | None = None
    epochs: int | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Mixture:
        """Return the mixture that ``dataclasses.asdict`` wrote to JSON."""
        return cls(**{**data, "folds": tuple(map(tuple, data["folds"]))})

    @property
    def trial(self) -> int:
        """The first trial."""
        return self.folds[0][0]

    @property
    def networks(self) -> tuple[int, ...]:
        """The trials of all folds, each as often as it weighs."""
        return tuple(sorted(trial for fold in self.folds for trial in fold))

    @property
    def trained(self) -> tuple[int, ...]:
        """The trials whose own networks are used."""
        return tuple(sorted(set(self.networks))) if self.epochs is None else ()

    @property
    def name(self) -> str:
        """What it is, in a word or two, such as ``calibrated ensemble``."""
        words = ["calibrated"] if self.temperature is not None else []
        if self.epochs is not None:
            words.append("refit")
        elif self.is_ensemble:
            words.append("ensemble")
        return " ".join(words)

    def __str__(self) -> str:
        """Describe it, as in ``ensemble of trials 3 (2 times), 5``."""
        return model_in_words(self.trial, self.name, self.networks, self.temperature, self.epochs)


def model_in_words(
    trial: int, name: str, networks: Sequence[int], temperature: float | None, epochs: int | None
) -> str:
    """Describe a model that was measured on the test set, as in ``ensemble of trials 3 (2 times), 5``.

    Args:
        trial: Its first trial.
        name: See :attr:`Mixture.name`; empty for the trial's own model.
        networks: See :attr:`Mixture.networks`.
        temperature: See :class:`Mixture`.
        epochs: See :class:`Mixture`.
    """
    if not name:
        return f"trial {trial}"
    counts = Counter(networks)
    unit = gcd(*counts.values())  # equal weights need no numbers
    members = [f"{one} ({count // unit} times)" if count > unit else str(one) for one, count in counts.items()]
    of = f"trial{'s' if len(members) > 1 else ''} {listed(members)}" if epochs is None else f"trial {trial}"
    notes = [f"{epochs} epochs with all images but those of the test set"] if epochs is not None else []
    notes += [f"temperature {temperature:.3g}"] if temperature is not None else []
    return f"{name} of {of}" + (f" ({', '.join(notes)})" if notes else "")
