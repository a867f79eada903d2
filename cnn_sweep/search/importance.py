"""Importances of hyperparameters, their effects, and interactions of pairs.

Two estimates of importance answer different questions. fANOVA (Hutter et al., ICML 2014) estimates the share of the
variance over the whole space that a hyperparameter explains. PED-ANOVA (Watanabe et al., IJCAI 2023) estimates how much
it matters for being among the best; Optuna computes it.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import warnings
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import create_trial
from scipy.special import fdtrc

from cnn_sweep.errors import StudyError
from cnn_sweep.search.distributions import distribution, encode, hashable
from cnn_sweep.search.fanova import Axis, forest, predicted
from cnn_sweep.search.learning_curves import features_of
from cnn_sweep.sweep.space.space import Choices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from cnn_sweep.sweep.direction import Direction
    from cnn_sweep.sweep.space.space import Parameter
    from cnn_sweep.sweep.sweep import Sweep

FEWEST: Final = 4  # trials; with fewer, no estimate is meaningful
MOST: Final = 1_000  # results used for importances; all forests of this many take seconds
_FORESTS: Final = 4  # random forests, each of which estimates all importances
_TREES: Final = 16  # trees in a forest
_SHUFFLES: Final = 19  # of all hyperparameters; chance exceeds the largest share of them in one study of twenty
_TREES_SHUFFLED: Final = 8
_FEWEST_TO_PREDICT: Final = 10  # results; with fewer, what is explained is not estimated
_ROUNDING: Final = 1e-12  # share of the variance that counts as zero
_VALUES: Final = 10  # distinct values; if there are more, they are grouped
_BINS: Final = 5  # groups of equal size

Result = tuple[dict[str, Any], float]


@dataclass(frozen=True)
class Importance:
    """Importance of a hyperparameter.

    Attributes:
        parameter: Its name.
        fanova: Its share of the variance that single hyperparameters explain; the shares sum to 1, however little they
            explain together. Mean over several forests.
        ped_anova: Its share of the difference between the best tenth and the rest; these shares sum to 1, too.
        trials: Number of results used: those in which the hyperparameter is active.
        conditional: Whether it is active in some trials only; its shares then refer to these trials.
        fanova_sd: Standard deviation of ``fanova`` over the forests.
    """

    parameter: str
    fanova: float | None
    ped_anova: float | None
    trials: int
    conditional: bool
    fanova_sd: float | None = None


@dataclass(frozen=True)
class Effect:
    """Results with one value of a hyperparameter, or with a group of neighbouring values.

    Attributes:
        parameter: Its name.
        value: The value; ``low to high`` for a group.
        trials: Number of results.
        mean: Mean of the objective.
        sd: Sample standard deviation of the objective; None for a single result.
        best: Best objective.
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
        first: Name of the first hyperparameter.
        second: Name of the second one.
        share: Omega squared, an estimate of its share of the variance that noise does not inflate (Hays, *Statistics
            for Psychologists*, 1963); 0 to 1.
        p: p-value of the F test for no interaction, times the number of pairs (Bonferroni); at most 1.
    """

    first: str
    second: str
    share: float
    p: float


@dataclass(frozen=True)
class Findings:
    """Importances, effects and interactions in a study.

    Attributes:
        importances: Sorted by fANOVA, the most important first.
        effects: Sorted by hyperparameter, as in the sweep file, then by value.
        interactions: For pairs whose every combination was tried; the strongest first.
        results: Number of results used for importances.
        noise: The fANOVA share that chance alone gives: the largest among shuffled copies of the hyperparameters, of
            nineteen shuffles. A smaller share tells nothing. None if no importance was estimated.
        explained: Share of the variance that all hyperparameters together explain in results that a random forest has
            not seen (out of bag; Breiman, *Machine Learning* 45, 2001); 0 to 1, None with fewer than ten results.
    """

    importances: tuple[Importance, ...]
    effects: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    results: int
    noise: float | None = None
    explained: float | None = None

    @property
    def certainty(self) -> str:
        """What the shares are worth, in one or two sentences; empty if nothing was estimated."""
        together = "" if self.explained is None else f"All together predict {self.explained:.0%} of the variance. "
        chance = "" if self.noise is None else f"Chance alone gives a fANOVA share of up to {self.noise:.3f}."
        return (together + chance).rstrip()


def find(
    sweep: Sweep, results: Iterable[tuple[Mapping[str, Any], float | None]], direction: Direction | None = None
) -> Findings:
    """Estimate importances, effects and interactions.

    Args:
        sweep: The sweep.
        results: Hyperparameters and objective of complete trials, in any order; those without a finite value are
            ignored.
        direction: Which values of the objective are better; by default as for the sweep's first objective.

    Raises:
        StudyError: There are too few results.
    """
    known = [
        ({name: hashable(one) for name, one in params.items()}, value)
        for params, value in results
        if value is not None and math.isfinite(value)
    ]
    if len(known) < FEWEST:
        raise StudyError(f"{len(known)} complete trials are too few to estimate importances; {FEWEST} are needed")
    known.sort(key=lambda one: json.dumps(one, sort_keys=True))  # a forest depends on the order of its data
    some = known if len(known) <= MOST else [known[i * len(known) // MOST] for i in range(MOST)]
    parameters = [_with_hashable(one) for one in sweep.space.parameters if _varies(one.name, known)]
    direction = sweep.objective.direction if direction is None else direction
    found = [*_always(direction, parameters, some), *_conditional(direction, parameters, some)]
    found.sort(key=lambda one: -1.0 if one.fanova is None else one.fanova, reverse=True)
    effects = [effect for one in sweep.space.parameters for effect in _effects(one.name, known, direction)]
    pairs = interactions([one.name for one in parameters if not one.when], known)
    noise = _noise(parameters, some)
    return Findings(tuple(found), tuple(effects), pairs, len(some), noise, _explained(some))


def _varies(name: str, known: Sequence[Result]) -> bool:
    return len({params[name] for params, _ in known if name in params}) > 1


def _with_hashable(parameter: Parameter) -> Parameter:
    """Return a parameter with hashable choices, as in results."""
    domain = parameter.domain
    return replace(parameter, domain=Choices(hashable(domain.values))) if isinstance(domain, Choices) else parameter


def _always(direction: Direction, parameters: Sequence[Parameter], known: Sequence[Result]) -> list[Importance]:
    return _importances(direction, [one for one in parameters if not one.when], known, report=None)


def _conditional(direction: Direction, parameters: Sequence[Parameter], known: Sequence[Result]) -> list[Importance]:
    found = []
    for one in parameters:
        if one.when:
            own = [(params, value) for params, value in known if one.name in params]
            beside = [other for other in parameters if all(other.name in params for params, _ in own)]
            found += _importances(direction, beside, own, report=one.name)
    return found


def _importances(
    direction: Direction, parameters: Sequence[Parameter], known: Sequence[Result], *, report: str | None
) -> list[Importance]:
    """Estimate importances of hyperparameters that are active in all these results; return one of them, or all."""
    varied, inside = _inside(parameters, known)
    forests = []
    if _can_estimate(varied, inside):
        trees = forest(*_encoded(varied, inside), _FORESTS * _TREES, 0)
        forests = [_normalized(part) for part in np.array_split(trees, _FORESTS)] if len(trees) >= _FORESTS else []
    of_the_best = _ped_anova(_optuna_study(direction, varied, inside), varied)
    found = []
    for place, one in enumerate(varied):
        if report in (None, one.name):
            shares = [float(shares[place]) for shares in forests]
            mean, sd = (fmean(shares), stdev(shares)) if shares else (None, None)
            found.append(Importance(one.name, mean, of_the_best.get(one.name), len(inside), report is not None, sd))
    return found


def _inside(parameters: Sequence[Parameter], known: Sequence[Result]) -> tuple[list[Parameter], list[Result]]:
    """Return the hyperparameters that vary, and the results that have all of them, with values in the space."""
    varied = [one for one in parameters if _varies(one.name, known)]
    inside = [
        (params, value)
        for params, value in known
        if all(one.name in params and one.domain.contains(params[one.name]) for one in varied)
    ]
    return varied, inside


def _encoded(
    varied: Sequence[Parameter], inside: Sequence[Result]
) -> tuple[list[Axis], list[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """Return what `forest` is fitted to: axes, columns and values."""
    axes = [Axis(one.domain) for one in varied]
    columns = [axis.columns([params[one.name] for params, _ in inside]) for axis, one in zip(axes, varied, strict=True)]
    return axes, columns, np.array([value for _, value in inside])


def _normalized(trees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over trees, as shares that add up to 1."""
    mean: npt.NDArray[np.float64] = trees.mean(axis=0)
    return mean / max(float(mean.sum()), _ROUNDING)


def _noise(parameters: Sequence[Parameter], known: Sequence[Result]) -> float | None:
    """Return `Findings.noise`, from hyperparameters that are always active."""
    varied, inside = _inside([one for one in parameters if not one.when], known)
    if not _can_estimate(varied, inside):
        return None
    axes, columns, values = _encoded(varied, inside)
    draw = random.Random(0)  # noqa: S311 - no secret
    noise = 0.0
    for _ in range(_SHUFFLES):
        copies = [column[draw.sample(range(len(values)), len(values))] for column in columns]
        trees = forest([*axes, *axes], [*columns, *copies], values, _TREES_SHUFFLED, draw.randrange(2**31))
        if len(trees):  # a few equal results may make all trees constant
            true, shuffled = trees.mean(axis=0).reshape(2, -1)
            noise = max(noise, float(shuffled.max()) / max(float(true.sum()), _ROUNDING))
    return min(1.0, noise)


def _explained(known: Sequence[Result]) -> float | None:
    """Return `Findings.explained`."""
    features = features_of([params for params, _ in known])
    values = np.array([value for _, value in known])
    if len(known) < _FEWEST_TO_PREDICT or not features.size or np.ptp(values) == 0:
        return None
    return max(0.0, predicted(features, values))


def _can_estimate(parameters: Sequence[Parameter], known: Sequence[Result]) -> bool:
    return len(known) >= FEWEST and bool(parameters) and len({value for _, value in known}) > 1


def _optuna_study(
    direction: Direction, parameters: Sequence[Parameter], known: Sequence[Result]
) -> optuna.Study | None:
    """Return an Optuna study of the results; None if nothing can be estimated from them."""
    if not _can_estimate(parameters, known):
        return None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction=StudyDirection[direction.name])
    distributions = {one.name: distribution(one.domain) for one in parameters}
    for params, value in known:
        encoded = {one.name: encode(one.domain, params[one.name]) for one in parameters}
        study.add_trial(create_trial(value=value, params=encoded, distributions=distributions))
    return study


def _ped_anova(study: optuna.Study | None, parameters: Sequence[Parameter]) -> dict[str, float]:
    if study is None:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        evaluator = PedAnovaImportanceEvaluator()
        shares = get_param_importances(study, evaluator=evaluator, params=[one.name for one in parameters])
    return {name: float(share) for name, share in shares.items()}


def _effects(name: str, known: Sequence[Result], direction: Direction) -> list[Effect]:
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
    return [
        Effect(
            parameter=name,
            value=value,
            trials=len(found),
            mean=float(np.mean(found)),
            sd=float(np.std(found, ddof=1)) if len(found) > 1 else None,
            best=min(found, key=direction.key),
        )
        for value, found in groups
    ]


def _has_own_effects(values: set[Any], results: int) -> bool:
    """Return whether each value is shown separately: they are not numbers, or few values with many results."""
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        return True
    return len(values) <= _VALUES and (len(values) <= _BINS or 2 * len(values) <= results)


def _order(value: Any) -> tuple[bool, Any]:
    """Return a sort key: numbers first, then everything else as text."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number, value if is_number else str(value)


def interactions(names: Sequence[str], known: Sequence[Result]) -> tuple[Interaction, ...]:
    """Analyse each pair of hyperparameters whose every combination has results; the strongest interaction first."""
    judged = [(*pair, _interaction(*pair, known)) for pair in itertools.combinations(names, 2)]
    found = [(first, second, *found) for first, second, found in judged if found is not None]
    pairs = [Interaction(first, second, share, min(1.0, p * len(found))) for first, second, share, p in found]
    return tuple(sorted(pairs, key=lambda one: (-one.share, one.p)))


def _interaction(first: str, second: str, known: Sequence[Result]) -> tuple[float, float] | None:
    """Analyse a two-way table: omega squared of the interaction, and p of its F test.

    Main effects are fitted by least squares, so cells may have different numbers of results.

    Returns:
        None if a cell is empty, no cell has two results, or nothing varies.
    """
    cells = [(params.get(first), params.get(second)) for params, _ in known]
    rows, columns = (sorted({cell[i] for cell in cells}, key=_order) for i in (0, 1))
    df, rest_df = (len(rows) - 1) * (len(columns) - 1), len(known) - len(rows) * len(columns)
    values = np.array([value for _, value in known])
    total = float(((values - values.mean()) ** 2).sum())
    if len(set(cells)) < len(rows) * len(columns) or rest_df < 1 or total == 0:
        return None
    row, column = (np.array([levels.index(cell[i]) for cell in cells]) for i, levels in enumerate((rows, columns)))
    place = row * len(columns) + column
    counts = np.bincount(place)
    means = np.bincount(place, values) / counts
    noise = float(((values - means[place]) ** 2).sum()) / rest_df
    main_effects = np.hstack(
        [np.repeat(np.eye(len(rows)), len(columns), axis=0), np.tile(np.eye(len(columns)), (len(rows), 1))]
    )
    together = _unexplained(main_effects, means, np.sqrt(counts))
    share = max(0.0, (together - df * noise) / (total + noise))
    if noise <= _ROUNDING * total:
        return share, float(together <= _ROUNDING * total)
    return share, float(fdtrc(df, rest_df, together / df / noise))


def _unexplained(
    design: npt.NDArray[np.float64], values: npt.NDArray[np.float64], roots: npt.NDArray[np.float64]
) -> float:
    """Return the weighted residual sum of squares of a linear model, whose columns may be linearly dependent.

    Args:
        design: The model; shape (values, columns).
        values: What it is fitted to.
        roots: Square roots of the weights.
    """
    scaled = design * roots[:, None]
    fitted = scaled @ np.linalg.lstsq(scaled, values * roots, rcond=None)[0]
    return float(((values * roots - fitted) ** 2).sum())
