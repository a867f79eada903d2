"""The search space: the values that each hyperparameter can take, and when it is active."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.sweep.identity import value_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# Standard deviation of the normal distribution around a value that the user believes in, as a share of the range.
BELIEF_SD: Final = 0.125
BELIEF: Final = 0.5  # probability of a choice that the user believes in; the rest is shared by all choices
DIGITS: Final = 12  # significant digits of a computed value, so that 1e-4 is 0.0001 exactly


def round_significant(value: float) -> float:
    """Round to 12 significant digits."""
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True)
class Choices:
    """A list of values: bool, int, float, str, None or lists of these.

    Attributes:
        values: At least one, all different.
        prior: The choice that the user believes to be best, as a 1-tuple, since it may be None; empty if there is none.
    """

    values: tuple[Any, ...]
    prior: tuple[Any, ...] = ()

    @property
    def grid(self) -> tuple[Any, ...]:
        """The values in the order of the file."""
        return self.values

    @property
    def size(self) -> float:
        """Number of values."""
        return len(self.values)

    @property
    def sample_values(self) -> tuple[Any, ...]:
        """Values that are tried to find mistakes before anything is trained."""
        return self.values

    def at(self, share: float) -> Any:
        """Return the value at a position in [0, 1) along the choices."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def believed_at(self, share: float) -> Any:
        """Return the value at a position in [0, 1) along the user's belief, in which one choice is more probable."""
        if not self.prior:
            return self.at(share)
        return self.prior[0] if share < BELIEF else self.at((share - BELIEF) / (1 - BELIEF))

    def index(self, value: Any) -> int | None:
        """Return the index of a value among the choices, or None if it is not one of them."""
        return self._places.get(value_key(value))

    @cached_property
    def _places(self) -> dict[tuple[Any, ...], int]:
        return {value_key(value): place for place, value in enumerate(self.values)}

    def contains(self, value: Any) -> bool:
        """Return whether a value is one of the choices."""
        return self.index(value) is not None


@dataclass(frozen=True)
class Range:
    """A range of numbers, both ends included.

    Attributes:
        low: Smallest value.
        high: Largest value; with a step, the last value that the steps reach.
        step: Distance between values, or None for all values.
        log: Whether values are spread evenly on a logarithmic scale.
        points: Number of values in a grid, or None.
        integer: Whether values are whole.
        prior: The value that the user believes to be best, or None.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    points: int | None = None
    integer: bool = False
    prior: float | None = None

    @cached_property
    def grid(self) -> tuple[Any, ...] | None:
        """The values of a grid in ascending order, or None if the range does not define them."""
        if self.points is not None:
            count = self.points
            raw = [self._between(i / (count - 1)) for i in range(count)] if count > 1 else [self.low]
            return tuple(dict.fromkeys(self._value(value) for value in raw))
        if self.step is not None:
            return tuple(self._value(self.low + i * self.step) for i in range(self.steps))
        if self.integer and not self.log:
            return tuple(range(int(self.low), int(self.high) + 1))
        return None

    @property
    def size(self) -> float:
        """Number of values in the range; infinite if a grid would not have all of them."""
        if self.low == self.high:
            return 1
        if self.step is not None:
            return self.steps
        whole = self.integer and not self.log and self.points is None
        return self.high - self.low + 1 if whole else math.inf

    @property
    def sample_values(self) -> tuple[Any, ...]:
        """The ends and a value between them that is not round, since a fraction may be a mistake."""
        return tuple(dict.fromkeys((self.nearest(self.low), self.nearest(self.high), self.at(0.381966))))

    @property
    def steps(self) -> int:
        """Number of values that the step allows."""
        return 0 if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def at(self, share: float) -> Any:
        """Return the value at a position in [0, 1) along the range."""
        if self.step is not None:
            return self._value(self.low + min(int(share * self.steps), self.steps - 1) * self.step)
        if not self.integer:
            return self._value(self._between(share))
        if not self.log:
            return self._value(self.low + math.floor(share * (self.high - self.low + 1)))
        low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
        return self._value(math.exp(low + share * (high - low)))

    def believed_at(self, share: float) -> Any:
        """Return the value at a position in [0, 1) along the user's belief: a normal distribution, cut at the ends."""
        if self.prior is None or self.low == self.high:
            return self.at(share)
        belief = NormalDist(self._share_of(self.prior), BELIEF_SD)
        start, end = belief.cdf(0.0), belief.cdf(1.0)
        return self.at(min(max(belief.inv_cdf(start + share * (end - start)), 0.0), math.nextafter(1.0, 0.0)))

    def _share_of(self, value: float) -> float:
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))

    def contains(self, value: Any) -> bool:
        """Return whether a value is in the range, and on a step if there are steps."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if not self.low <= value <= self.high or (self.integer and value != int(value)):
            return False
        return self.step is None or self.nearest(value) == value

    def nearest(self, value: float) -> Any:
        """Return the closest value of the range."""
        if self.step is not None:
            index = min(max(round((value - self.low) / self.step), 0), self.steps - 1)
            value = self.low + index * self.step
        return self._value(value)

    def _between(self, share: float) -> float:
        if self.log:
            return math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        return self.low + share * (self.high - self.low)

    def _value(self, value: float) -> Any:
        near = round(value) if self.integer else round_significant(value)
        # Rounding must not move the ends that the user wrote.
        kind = int if self.integer else float
        return min(max(near, kind(self.low)), kind(self.high))


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter.

    Attributes:
        name: Its name in the file.
        domain: The values that it can take.
        when: Values of other parameters with which this one is active; all conditions must hold.
    """

    name: str
    domain: Choices | Range
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def is_active(self, params: Mapping[str, Any]) -> bool:
        """Return whether this parameter is active, given values of those that it depends on."""
        return all(name in params and choices.contains(params[name]) for name, choices in self._accepted.items())

    def canonical(self) -> dict[str, Any]:
        """Return the parameter as plain data for the canonical form of the sweep."""
        domain = self.domain
        if isinstance(domain, Choices):
            values: dict[str, Any] = {"choices": list(domain.values)}
        else:
            values = {"low": domain.low, "high": domain.high, "step": domain.step}
            values |= {"log": domain.log, "points": domain.points}
        if domain.prior not in ((), None):
            values["prior"] = domain.prior
        return {"name": self.name, **values, "when": {name: list(accepted) for name, accepted in self.when.items()}}

    @cached_property
    def _accepted(self) -> dict[str, Choices]:
        return {name: Choices(values) for name, values in self.when.items()}


@dataclass(frozen=True)
class Space:
    """All hyperparameters of a sweep, in the order of the file.

    Attributes:
        parameters: The hyperparameters; their conditions have no cycle.
    """

    parameters: tuple[Parameter, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the file."""
        return tuple(parameter.name for parameter in self.parameters)

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Each parameter by its name."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def ordered(self) -> tuple[Parameter, ...]:
        """The parameters, each after those on which it depends."""
        ordered, waiting = list[Parameter](), list(self.parameters)
        while waiting:
            done = {parameter.name for parameter in ordered}
            ready = [parameter for parameter in waiting if done.issuperset(parameter.when)]
            if not ready:
                names = ", ".join(parameter.name for parameter in waiting)
                raise ValueError(f"these parameters depend on each other in a cycle: {names}")
            ordered += ready
            waiting = [parameter for parameter in waiting if parameter not in ready]
        return tuple(ordered)

    def with_fixed(self, values: Mapping[str, Any]) -> Space:
        """Return the space with some parameters fixed.

        Args:
            values: Value of each fixed parameter.
        """
        if not values:
            return self
        return Space(
            tuple(
                replace(one, domain=Choices((values[one.name],))) if one.name in values else one
                for one in self.parameters
            )
        )

    def complete(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the values of the active parameters, in the order of the file.

        Args:
            values: A value for each parameter, active or not.
        """
        active: dict[str, Any] = {}
        for parameter in self.ordered:
            if not parameter.when or parameter.is_active(active):
                active[parameter.name] = values[parameter.name]
        return {name: active[name] for name in self.names if name in active}

    def at(self, shares: Iterable[float]) -> dict[str, Any]:
        """Return the configuration at a point of the unit cube, with one coordinate in [0, 1) per parameter."""
        pairs = zip(self.parameters, shares, strict=True)
        return self.complete({parameter.name: parameter.domain.at(float(share)) for parameter, share in pairs})

    def believed_at(self, shares: Iterable[float], *, exactly: bool = False) -> dict[str, Any]:
        """Return the configuration at a point of the unit cube, along the user's beliefs where there are any.

        Args:
            shares: A coordinate in [0, 1) per parameter.
            exactly: Whether hyperparameters with a belief get its value itself, and none around it.
        """
        pairs = zip(self.parameters, shares, strict=True)
        drawn = {one.name: one.domain.believed_at(float(share)) for one, share in pairs}
        return self.complete(drawn | (self.priors if exactly else {}))

    @property
    def priors(self) -> dict[str, Any]:
        """The values that the user believes to be best, by parameter."""
        domains = {one.name: one.domain for one in self.parameters}
        choices = {name: one.prior[0] for name, one in domains.items() if isinstance(one, Choices) and one.prior}
        return choices | {n: o.prior for n, o in domains.items() if isinstance(o, Range) and o.prior is not None}


def is_complete(space: Space, params: Mapping[str, Any]) -> bool:
    """Return whether every active parameter has a value."""
    return all(one.name in params or not one.is_active(params) for one in space.ordered)


def find_value(domain: Choices | Range, value: Any) -> tuple[Any] | None:
    """Return a value in the domain's form (0.0 for 0) as a 1-tuple, since it may be None; None if it is not a value."""
    if isinstance(domain, Choices):
        place = domain.index(value)
        return None if place is None else (domain.values[place],)
    return (domain.nearest(value),) if domain.contains(value) else None
