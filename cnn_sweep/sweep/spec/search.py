"""The sections ``search`` and ``pruner``: how a sweep searches its space, and what ends trials early."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from cnn_sweep.messages import show
from cnn_sweep.validation import Count, Factor, Spec, added_later

Method = Literal["grid", "brute_force", "table", "random", "qmc", "tpe", "gp", "cmaes", "nsga2", "nsga3"]

# Methods that learn from results, and methods that use the rows of the grid.
ADAPTIVE_METHODS: Final = frozenset({"tpe", "gp", "cmaes", "nsga2", "nsga3"})
GRID_METHODS: Final = ("grid", "brute_force")
LISTED_METHODS: Final = (*GRID_METHODS, "table")  # methods that train the rows of a list
MAX_ROUND: Final = 100_000  # trials of Hyperband's first bracket, before the second round begins
GAIN_BELOW_NOISE: Final = "gain_below_noise"  # a key of `until`, beside the objective
# Number of trials of a search with only other limits, such as hours.
MAX_TRIALS: Final = 10_000

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class QmcOptions(Spec):
    """Settings of quasi-random draws; names are Optuna's, though its own default does not scramble."""

    qmc_type: Literal["sobol", "halton"] = added_later("sobol")
    scramble: bool = added_later(True)


class TpeOptions(Spec):
    """Settings of the tree-structured Parzen estimator; names are Optuna's."""

    n_startup_trials: Count = 10  # random draws before the estimator begins
    multivariate: bool = True  # consider the parameters together
    constant_liar: bool = added_later(True)  # count running trials as poor ones
    n_ei_candidates: Count = added_later(24)  # candidates, the most promising of which is proposed


class GpOptions(Spec):
    """Settings of Bayesian optimisation with a Gaussian process; names are Optuna's."""

    n_startup_trials: Count = 10
    deterministic_objective: bool = False  # results have no noise


class CmaesOptions(Spec):
    """Settings of the covariance matrix adaptation evolution strategy; names are Optuna's."""

    n_startup_trials: Count = 1
    popsize: Annotated[int, Field(ge=2)] | None = None  # 4 + 3 * ln(parameters)
    use_separable_cma: bool = False
    lr_adapt: bool = False


class Nsga2Options(Spec):
    """Settings of the non-dominated sorting genetic algorithm II; names are Optuna's."""

    population_size: Annotated[int, Field(ge=2)] = 50
    mutation_prob: Probability | None = None  # 1 / parameters
    crossover: Literal["uniform", "blxalpha", "sbx", "undx", "spx", "vsbx"] = "uniform"
    crossover_prob: Probability = 0.9
    swapping_prob: Probability = 0.5


class Nsga3Options(Nsga2Options):
    """Settings of NSGA-III, which spreads better over more than two objectives."""

    dividing_parameter: Count = 3


OPTIONS: Final[dict[str, type[Spec]]] = {
    "qmc": QmcOptions,
    "tpe": TpeOptions,
    "gp": GpOptions,
    "cmaes": CmaesOptions,
    "nsga2": Nsga2Options,
    "nsga3": Nsga3Options,
}


class Learned(Spec):
    """A configuration of an earlier study, which is tried first.

    Attributes:
        study: Name of the earlier study.
        trial: Number of its trial there.
        value: Mean value of the configuration there.
        params: Its hyperparameters that are in the space of the new study.
    """

    study: str
    trial: Annotated[int, Field(ge=0)]
    value: float
    params: dict[str, Any]


def _goal(value: Any) -> Any:
    """Refuse what is neither a number nor true, with one message instead of one for each type."""
    if value is True or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"must be a number, or true for {GAIN_BELOW_NOISE}, not {show(value)}")


class SearchSpec(Spec):
    """How a sweep searches its space, and when the search ends.

    Attributes:
        method: grid: all combinations. brute_force: the same in random order. table: the rows of a CSV file. random:
            independent draws. qmc: a sequence that covers the space more evenly. The others learn from the results so
            far.
        trials: Number of configurations; for a grid, only the first ones. None: the whole grid.
        repeats: Number of trials of each configuration, each with another seed.
        seed: Seed of the search; repeat r is trained with seed + r.
        options: Settings of the method.
        fixed: Hyperparameters that are fixed to one value.
        enqueue: Configurations, complete or partial, that are tried first.
        learn_from: Earlier studies of the same results folder, whose best configurations are tried first.
        learned: These configurations, as they were when the study was created; the study's own sweep file has them.
        epochs: Total epochs of all trials after which no trial starts.
        hours: Hours of training, on any number of workers, after which no trial starts.
        gpu_hours: Total hours of all GPUs after which no trial starts.
        until: Value of the objective at which the search ends; and ``gain_below_noise: true``, which ends it when the
            second half of it gained less than trainings of one configuration differ.
        constraints: Conditions on what is measured, such as ``parameters <= 1e5``; infeasible results rank last.
        file: For the method table: CSV file with a column for each hyperparameter and a row for each configuration.
        rows: The content of such a file, as a study keeps it.
    """

    method: Method = "grid"
    trials: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    repeats: Annotated[int, Field(ge=1, le=10_000)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    options: dict[str, Any] = Field(default_factory=dict)
    fixed: dict[str, Any] = added_later({})
    enqueue: tuple[dict[str, Any], ...] = added_later(())
    learn_from: tuple[str, ...] = added_later(())
    learned: tuple[Learned, ...] = added_later(())
    epochs: Count | None = added_later(None)
    hours: Positive | None = added_later(None)
    gpu_hours: Positive | None = added_later(None)
    until: dict[str, Annotated[float | bool, BeforeValidator(_goal)]] = added_later({})
    constraints: tuple[str, ...] = added_later(())
    file: str | None = added_later(None)
    rows: str | None = added_later(None)

    @property
    def is_adaptive(self) -> bool:
        """Whether the next configuration depends on the results so far."""
        return self.method in ADAPTIVE_METHODS

    @property
    def has_budget(self) -> bool:
        """Whether something other than the number of trials limits the search."""
        return bool(self.epochs or self.hours or self.gpu_hours or self.until)

    @property
    def max_trials(self) -> int | None:
        """Largest number of configurations; None for a whole grid."""
        if self.trials is not None or not self.has_budget or self.method in LISTED_METHODS:
            return self.trials
        return min(self.epochs or MAX_TRIALS, MAX_TRIALS)

    @property
    def settings(self) -> Any:
        """The method's options, including defaults; None if the method has none."""
        model = OPTIONS.get(self.method)
        return None if model is None else model.model_validate(self.options)


Steps = Annotated[int, Field(ge=0)]


def _epochs_or_auto(value: Any) -> Any:
    """Say at once what may stand here, instead of once for each member of the union."""
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"must be auto, or a whole number of at least 1, not {show(value)}")


class AshaSpec(Spec):
    """Pause at rungs, and promote the best: asynchronous successive halving (Li et al., MLSys 2020).

    Attributes:
        min_epochs: The first rung. auto: the lowest of 1, reduction, reduction², … epochs at which the order of the
            first trials agrees with their order at the next rung.
        reduction: Factor between the epochs of successive rungs; one of this many trials is promoted.
    """

    kind: Literal["asha"] = "asha"
    min_epochs: Annotated[Count | Literal["auto"], BeforeValidator(_epochs_or_auto)] = 1
    reduction: Annotated[int, Field(ge=2)] = 3


class HyperbandSpec(Spec):
    """Asynchronous successive halving with several first rungs at once (Li et al., JMLR 2018).

    Attributes:
        min_epochs: The first rung of the first bracket.
        reduction: As in `AshaSpec`; also the factor between the first rungs of successive brackets.
        brackets: Number of brackets; each starts one rung higher than the previous one, with fewer trials.
    """

    kind: Literal["hyperband"] = "hyperband"
    min_epochs: Count = 1
    reduction: Annotated[int, Field(ge=2)] = 3
    brackets: Count = 3

    @model_validator(mode="after")
    def _has_small_rounds(self) -> HyperbandSpec:
        if math.log(self.reduction) * (self.brackets - 1) > math.log(MAX_ROUND):  # the power itself may take long
            size = f"reduction {self.reduction} ** (brackets {self.brackets} - 1)"
            raise ValueError(f"the first bracket would have {size} trials, more than {MAX_ROUND:,}")
        return self


class PredictiveSpec(Spec):
    """Pause at closely spaced rungs, and go on with the trial that is most likely to be the best at its end.

    Attributes:
        min_epochs: The first rung; each further one is about one and a half times as far.
    """

    kind: Literal["predictive"] = "predictive"
    min_epochs: Count = 1


class MedianSpec(Spec):
    """Stop a trial that is worse than the median of complete trials at the same epoch; names are Optuna's."""

    kind: Literal["median"] = "median"
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0
    interval_steps: Count = 1
    n_min_trials: Count = 1


class PercentileSpec(Spec):
    """Stop a trial that is not in the best ``percentile`` of complete trials at the same epoch; names are Optuna's."""

    kind: Literal["percentile"] = "percentile"
    percentile: Annotated[float, Field(ge=0.0, le=100.0)] = 25.0
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0
    interval_steps: Count = 1
    n_min_trials: Count = 1


class PatientSpec(Spec):
    """Stop a trial that the median pruner would stop, but only after ``patience`` epochs without improvement."""

    kind: Literal["patient"] = "patient"
    patience: Count
    min_delta: Factor = 0.0
    n_startup_trials: Steps = 5
    n_warmup_steps: Steps = 0


class ThresholdSpec(Spec):
    """Stop a trial whose objective leaves a range; names are Optuna's."""

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
    """Stop repeating a configuration that is worse than the best one; names are Optuna's."""

    kind: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    n_startup_steps: Count = 2


RungSpec = AshaSpec | HyperbandSpec | PredictiveSpec
StopSpec = MedianSpec | PercentileSpec | PatientSpec | ThresholdSpec
PrunerSpec = RungSpec | StopSpec | WilcoxonSpec

PRUNERS: dict[str, type[Spec]] = {
    "asha": AshaSpec,
    "hyperband": HyperbandSpec,
    "predictive": PredictiveSpec,
    "median": MedianSpec,
    "percentile": PercentileSpec,
    "patient": PatientSpec,
    "threshold": ThresholdSpec,
    "wilcoxon": WilcoxonSpec,
}


def parse_pruner(value: Any) -> tuple[str, Any] | None:
    """Return the name and settings of a pruner written as ``asha`` or ``{asha: {...}}``; None if it is neither."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        ((name, settings),) = value.items()
        return str(name), {} if settings is None else settings
    return None
