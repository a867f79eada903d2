"""Converts a hyperparameter's values to and from Optuna's distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from cnn_sweep.sweep.space.space import Choices, round_significant

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

    from cnn_sweep.sweep.space.space import Range


def distribution(domain: Choices | Range) -> BaseDistribution:
    """Return the distribution of a domain; choices are numbered because Optuna allows no lists as choices."""
    if isinstance(domain, Choices):
        return CategoricalDistribution(tuple(range(len(domain.values))))
    high = domain.high if domain.step is None else round_significant(domain.low + (domain.steps - 1) * domain.step)
    if domain.integer:
        step = 1 if domain.step is None else int(domain.step)
        return IntDistribution(int(domain.low), int(high), log=domain.log, step=step)
    return FloatDistribution(float(domain.low), float(high), log=domain.log, step=domain.step)


def suggest(trial: Trial, name: str, values: BaseDistribution) -> Any:
    """Let Optuna choose a value from a distribution."""
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    if isinstance(values, IntDistribution):
        return trial.suggest_int(name, values.low, values.high, step=values.step, log=values.log)
    if isinstance(values, FloatDistribution):
        return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)
    raise TypeError(f"{values!r} is not one of our distributions")


def hashable(value: Any) -> Any:
    """Return a value that can be hashed: a tuple instead of a list."""
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def encode(domain: Choices | Range, value: Any) -> Any:
    """Convert a value of the sweep to Optuna's."""
    return domain.index(value) if isinstance(domain, Choices) else value


def decode(domain: Choices | Range, value: Any) -> Any:
    """Convert Optuna's value to one of the sweep."""
    return domain.values[value] if isinstance(domain, Choices) else domain.nearest(value)
