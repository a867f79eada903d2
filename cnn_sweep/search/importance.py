"""What mattered: importance of hyperparameters, their effects, and how pairs of them interact.

Two estimates of importance stand side by side, since they answer different questions. fANOVA (Hutter et al., ICML 2014)
is the share of the variance over the whole space that a hyperparameter explains; PED-ANOVA (Watanabe et al., IJCAI
2023) says how much it matters for being among the best. Both are Optuna's.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from cnn_sweep.errors import StudyError
from cnn_sweep.search.distributions import distribution, encode, hashable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.importance import BaseImportanceEvaluator

    from cnn_sweep.sweep.space import Parameter
    from cnn_sweep.sweep.spec import Sweep

FEWEST: Final = 4  # trials below which no estimate means anything
_VALUES: Final = 10  # different values up to which each has an effect of its own
_BINS: Final = 5  # groups of equal size into which more values are put

Result = tuple[dict[str, Any], float]


@dataclass(frozen=True)
class Importance:
    """How much a hyperparameter matters.

    Attributes:
        parameter: Its name.
        fanova: Share of the variance that it explains, of all that hyperparameters explain alone; 0 to 1.
        ped_anova: Share of what makes the best tenth different; 0 to 1.
        trials: Results that this was estimated from: those in which the hyperparameter counts.
        conditional: Whether it counts in some trials only; its shares are then those among these trials.
    """

    parameter: str
    fanova: float | None
    ped_anova: float | None
    trials: int
    conditional: bool


@dataclass(frozen=True)
class Effect:
    """Results with one value of a hyperparameter, or with values that are near to each other.

    Attributes:
        parameter: Its name.
        value: The value; ``low to high`` for a group.
        trials: How many results.
        mean: Of the objective.
        sd: Its standard deviation (of a sample); None for a single result.
        best: The best of them.
    """

    parameter: str
    value: Any
    trials: int
    mean: float
    sd: float | None
    best: float


@dataclass(frozen=True)
class Interaction:
    """How much of the variance two hyperparameters explain together, beyond what each explains alone.

    Attributes:
        first: Name of one.
        second: Name of the other.
        share: Sum of squares of the interaction in an analysis of variance of the cells' means, each cell counted as
            often as it has results, over the whole sum of squares; 0 to 1.
    """

    first: str
    second: str
    share: float


@dataclass(frozen=True)
class Findings:
    """What mattered in a study.

    Attributes:
        importances: The most important hyperparameter (by fANOVA) first.
        effects: By hyperparameter in the order of the sweep file, then by value.
        interactions: Of pairs whose every combination was tried; the strongest first.
    """

    importances: tuple[Importance, ...]
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]


def find(sweep: Sweep, results: Iterable[tuple[Mapping[str, Any], float | None]]) -> Findings:
    """Find out what mattered.

    Args:
        sweep: The sweep; of several objectives the first one counts.
        results: Hyperparameters and objective of complete trials; those without a finite value are left out.

    Raises:
        StudyError: There are too few results.
    """
    known = [
        ({name: hashable(one) for name, one in params.items()}, value)
        for params, value in results
        if value is not None and math.isfinite(value)
    ]
    if len(known) < FEWEST:
        raise StudyError(f"{len(known)} complete trials are too few to tell what matters; {FEWEST} are needed")
    parameters = [one for one in sweep.space.parameters if len({p.get(one.name) for p, _ in known} - {None}) > 1]
    direction = sweep.objective.direction
    found = [*_always(sweep, parameters, known), *_conditional(sweep, parameters, known)]
    found.sort(key=lambda one: -1.0 if one.fanova is None else one.fanova, reverse=True)
    effects = [effect for one in sweep.space.parameters for effect in _effects(one.name, known, direction)]
    pairs = itertools.combinations([one.name for one in parameters if not one.when], 2)
    interactions = [one for pair in pairs if (one := _interaction(*pair, known)) is not None]
    interactions.sort(key=lambda one: one.share, reverse=True)
    return Findings(tuple(found), tuple(effects), tuple(interactions))


def _always(sweep: Sweep, parameters: Sequence[Parameter], known: Sequence[Result]) -> list[Importance]:
    return _importances(sweep, [one for one in parameters if not one.when], known, report=None)


def _conditional(sweep: Sweep, parameters: Sequence[Parameter], known: Sequence[Result]) -> list[Importance]:
    found = []
    for one in parameters:
        if one.when:
            own = [(params, value) for params, value in known if one.name in params]
            beside = [other for other in parameters if all(other.name in params for params, _ in own)]
            found += _importances(sweep, beside, own, report=one.name)
    return found


def _importances(
    sweep: Sweep, parameters: Sequence[Parameter], known: Sequence[Result], *, report: str | None
) -> list[Importance]:
    """Estimate the importances of hyperparameters that all these results have; report one of them, or all."""
    varied = [one for one in parameters if len({params[one.name] for params, _ in known}) > 1]
    names = [one.name for one in varied]
    shares = [
        _shares(sweep, varied, known, evaluator)
        for evaluator in (FanovaImportanceEvaluator(seed=0), PedAnovaImportanceEvaluator())
    ]
    return [
        Importance(name, shares[0].get(name), shares[1].get(name), len(known), report is not None)
        for name in ([report] if report else names)
    ]


def _shares(
    sweep: Sweep, parameters: Sequence[Parameter], known: Sequence[Result], evaluator: BaseImportanceEvaluator
) -> dict[str, float]:
    if len(known) < FEWEST or not parameters or len({value for _, value in known}) == 1:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=sweep.objective.direction)
    inside = [
        (params, value) for params, value in known if all(one.domain.contains(params[one.name]) for one in parameters)
    ]
    for params, value in inside:
        encoded = {one.name: encode(one.domain, params[one.name]) for one in parameters}
        distributions = {one.name: distribution(one.domain) for one in parameters}
        study.add_trial(create_trial(value=value, params=encoded, distributions=distributions))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        shares = get_param_importances(study, evaluator=evaluator, params=[one.name for one in parameters])
    return {name: float(share) for name, share in shares.items()}


def _effects(name: str, known: Sequence[Result], direction: str) -> list[Effect]:
    pairs = [(params[name], value) for params, value in known if name in params]
    different = {value for value, _ in pairs}
    groups: list[tuple[Any, list[float]]] = []
    if _has_own_effects(different, len(pairs)):
        ordered = sorted(different, key=_order)
        groups += [(one, [result for value, result in pairs if value == one]) for one in ordered]
    else:
        pairs.sort(key=lambda pair: pair[0])
        for part in np.array_split(np.arange(len(pairs)), _BINS):
            inside = [pairs[place] for place in part]
            groups.append((f"{inside[0][0]:.3g} to {inside[-1][0]:.3g}", [result for _, result in inside]))
    best = max if direction == "maximize" else min
    return [
        Effect(
            parameter=name,
            value=value,
            trials=len(found),
            mean=float(np.mean(found)),
            sd=float(np.std(found, ddof=1)) if len(found) > 1 else None,
            best=best(found),
        )
        for value, found in groups
    ]


def _has_own_effects(values: set[Any], results: int) -> bool:
    """Tell whether each value has an effect of its own: it is no number, or they are few that were tried often."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return True
    return len(values) <= _VALUES and (len(values) <= _BINS or 2 * len(values) <= results)


def _order(value: Any) -> tuple[bool, Any]:
    """Sort numbers as numbers, and all else as text after them."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number, value if is_number else str(value)


def _interaction(first: str, second: str, known: Sequence[Result]) -> Interaction | None:
    """Analyse a two-way table; None if a cell is empty, or if nothing varies."""
    cells: dict[tuple[Any, Any], list[float]] = {}
    for params, value in known:
        cells.setdefault((params.get(first), params.get(second)), []).append(value)
    rows, columns = (sorted({key[i] for key in cells}, key=_order) for i in (0, 1))
    if len(cells) < len(rows) * len(columns) or len(cells) == len(known) == 1:
        return None
    means = np.array([[np.mean(cells[row, column]) for column in columns] for row in rows])
    counts = np.array([[len(cells[row, column]) for column in columns] for row in rows])
    values = np.array([value for _, value in known])
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0 or len(known) == len(cells):  # a table with one result a cell has no residue to compare with
        return None
    rest = means - means.mean(axis=1, keepdims=True) - means.mean(axis=0, keepdims=True) + means.mean()
    return Interaction(first, second, min(1.0, float((counts * rest**2).sum()) / total))
