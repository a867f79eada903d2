"""Creates Optuna's samplers from a sweep's search section."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    PartialFixedSampler,
    TPESampler,
    nsgaii,
)

from cnn_sweep.search.samplers import check_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from optuna.samplers import BaseSampler

    from cnn_sweep.sweep.spec.search import CmaesOptions, GpOptions, Nsga2Options, TpeOptions
    from cnn_sweep.sweep.sweep import Sweep

SAMPLERS: Final[dict[str, type[BaseSampler]]] = {
    "tpe": TPESampler,
    "gp": GPSampler,
    "cmaes": CmaEsSampler,
    "nsga2": NSGAIISampler,
    "nsga3": NSGAIIISampler,
}
_CROSSOVERS: Final[dict[str, Callable[[], nsgaii.BaseCrossover]]] = {
    "uniform": nsgaii.UniformCrossover,
    "blxalpha": nsgaii.BLXAlphaCrossover,
    "sbx": nsgaii.SBXCrossover,
    "undx": nsgaii.UNDXCrossover,
    "spx": nsgaii.SPXCrossover,
    "vsbx": nsgaii.VSBXCrossover,
}


def make_sampler(sweep: Sweep, *, seed: int, fixed: Mapping[str, Any]) -> BaseSampler:
    """Return the Optuna sampler for a sweep.

    Args:
        sweep: The sweep, whose search is adaptive.
        seed: Seed of the sampler's random draws.
        fixed: Hyperparameters with fixed values, encoded for Optuna.

    Raises:
        EnvironmentFault: A package is missing.
    """
    method, options = sweep.search.method, sweep.search.settings
    check_packages(method)
    with warnings.catch_warnings():
        # Optuna warns that groups of parameters, NSGA-III and most crossovers are experimental.
        warnings.simplefilter("ignore", ExperimentalWarning)
        if method == "tpe":
            sampler = _tpe(sweep, options, seed)
        elif method == "gp":
            sampler = _gp(options, seed)
        elif method == "cmaes":
            sampler = _cmaes(options, seed)
        else:
            sampler = _nsga(method, options, seed)
        return PartialFixedSampler(dict(fixed), sampler) if fixed else sampler


def _tpe(sweep: Sweep, options: TpeOptions, seed: int) -> BaseSampler:
    return TPESampler(
        seed=seed,
        n_startup_trials=options.n_startup_trials,
        n_ei_candidates=options.n_ei_candidates,
        multivariate=options.multivariate,
        group=options.multivariate and any(one.when for one in sweep.space.parameters),
        constant_liar=options.constant_liar,
    )


def _gp(options: GpOptions, seed: int) -> BaseSampler:
    return GPSampler(seed=seed, warn_independent_sampling=False, **options.model_dump())


def _cmaes(options: CmaesOptions, seed: int) -> BaseSampler:
    return CmaEsSampler(seed=seed, warn_independent_sampling=False, **options.model_dump())


def _nsga(method: str, options: Nsga2Options, seed: int) -> BaseSampler:
    settings = options.model_dump()
    crossover = _CROSSOVERS[settings.pop("crossover")]()
    # A crossover with three parents needs a population of at least three.
    settings["population_size"] = max(settings["population_size"], crossover.n_parents)
    kind = NSGAIISampler if method == "nsga2" else NSGAIIISampler
    return kind(seed=seed, crossover=crossover, **settings)
