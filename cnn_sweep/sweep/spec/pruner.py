"""What ends trials before their last epoch: the section ``pruner`` of a sweep file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cnn_sweep.validation import Count, Factor, Spec

Steps = Annotated[int, Field(ge=0)]


class AshaSpec(Spec):
    """Pause at rungs, and promote the best: asynchronous successive halving (Li et al., MLSys 2020).

    Attributes:
        min_epochs: The first rung.
        reduction: Each rung has so many times the epochs of the one before; one in so many trials is promoted.
    """

    kind: Literal["asha"] = "asha"
    min_epochs: Count = 1
    reduction: Annotated[int, Field(ge=2)] = 3


class HyperbandSpec(Spec):
    """Asynchronous successive halving with several first rungs at once (Li et al., JMLR 2018).

    Attributes:
        min_epochs: The first rung of the first bracket.
        reduction: As of `AshaSpec`; also between the first rungs of two brackets.
        brackets: How many; each next one begins a rung later and has fewer trials.
    """

    kind: Literal["hyperband"] = "hyperband"
    min_epochs: Count = 1
    reduction: Annotated[int, Field(ge=2)] = 3
    brackets: Count = 3


class MedianSpec(Spec):
    """Stop what is worse than the median of complete trials at the same epoch; names are Optuna's."""

    kind: Literal["median"] = "median"
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0
    interval_steps: Count = 1
    n_min_trials: Count = 1


class PercentileSpec(Spec):
    """Stop what is not among the best ``percentile`` of complete trials at the same epoch; names are Optuna's."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 25.0
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0
    interval_steps: Count = 1
    n_min_trials: Count = 1


class PatientSpec(Spec):
    """Stop what the median pruner would stop, but only once a trial has not improved for ``patience`` epochs."""

    kind: Literal["patient"] = "patient"
    patience: Count
    min_delta: Factor = 0.0
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0


class ThresholdSpec(Spec):
    """Stop what leaves a range; names are Optuna's."""

    kind: Literal["threshold"] = "threshold"
    lower: float | None = None
    upper: float | None = None
    n_warmup_steps: Steps = 0
    interval_steps: Count = 1

    @model_validator(mode="after")
    def _has_a_bound(self) -> ThresholdSpec:
        if self.lower is None and self.upper is None:
            raise ValueError("needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower ({self.lower:g}) is above upper ({self.upper:g})")
        return self


class WilcoxonSpec(Spec):
    """Train no further repeats of a configuration that is worse than the best one; names are Optuna's."""

    kind: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    n_startup_steps: Count = 2


RungSpec = AshaSpec | HyperbandSpec
StopSpec = MedianSpec | PercentileSpec | PatientSpec | ThresholdSpec
PrunerSpec = RungSpec | StopSpec | WilcoxonSpec

PRUNERS: dict[str, type[Spec]] = {
    "asha": AshaSpec,
    "hyperband": HyperbandSpec,
    "median": MedianSpec,
    "percentile": PercentileSpec,
    "patient": PatientSpec,
    "threshold": ThresholdSpec,
    "wilcoxon": WilcoxonSpec,
}


def settings_of(value: Any) -> tuple[str, Any] | None:
    """Return name and settings of a pruner as a sweep file has it, ``asha`` or ``{asha: {...}}``; None if neither."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        ((name, settings),) = value.items()
        return str(name), {} if settings is None else settings
    return None
