"""Reads a whole sweep file, section by section, and collects every mistake."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.messages import listed, missing, point_hint, show, unknown
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.expressions.expression import Expression
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.sweep.file.problems import add_invalid_values, validate_section
from cnn_sweep.sweep.file.search_section import (
    check_outcome_constraints,
    check_until,
    read_fixed_and_enqueued,
    read_pruner,
    read_search,
)
from cnn_sweep.sweep.file.space_section import MAX_PARAMETERS, read_space
from cnn_sweep.sweep.file.table_section import read_table
from cnn_sweep.sweep.file.used_parameters import used_parameters
from cnn_sweep.sweep.file.when_finished_section import read_when_finished
from cnn_sweep.sweep.identity import STUDY_NAME_RULE, name_problem
from cnn_sweep.sweep.network.template import INDEX, NetworkTemplate, compile_network, network_references
from cnn_sweep.sweep.space.templates import SpecTemplate, compile_spec, references
from cnn_sweep.sweep.spec.data import SOURCES, DataSpec
from cnn_sweep.sweep.spec.metrics import TRIAL_METRICS, default_direction, is_objective, objectives
from cnn_sweep.sweep.spec.outcome_constraints import outcome_constraints
from cnn_sweep.sweep.spec.search import GRID_METHODS, LISTED_METHODS, SearchSpec
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.validation import Spec, added_later

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.file.problems import Problems
    from cnn_sweep.sweep.file.table_section import Table
    from cnn_sweep.sweep.space.space import Space
    from cnn_sweep.sweep.spec.search import PrunerSpec
    from cnn_sweep.sweep.spec.when_finished import Step
    from cnn_sweep.validation import InvalidValue


KEYS: Final = (
    "study",
    "data",
    "model",
    "space",
    "constraints",
    "search",
    "pruner",
    "training",
    "objective",
    "objectives",
    "models",
    "when_finished",
    "include",  # is replaced by what the files have before sections are read
)
_FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
MAX_CONSTRAINTS: Final = 200


class ModelsSpec(Spec):
    """The section ``models``: what is kept of trained models."""

    keep: int = 1  # number of the best models
    predictions: bool = added_later(True)  # of the validation images, of each complete trial


@dataclass(frozen=True)
class Sections:
    """The sections of a sweep file, read but not yet checked with values of the hyperparameters."""

    study: str
    data: DataSpec | None
    network: NetworkTemplate | None
    build: str | None
    space: Space
    constraints: tuple[Expression, ...]
    constraint_paths: tuple[KeyPath, ...]
    search: SearchSpec
    pruner: PrunerSpec | None
    training: SpecTemplate | None
    objectives: tuple[ObjectiveSpec, ...]
    models: ModelsSpec
    when_finished: tuple[Step, ...] = ()
    rows: tuple[dict[str, Any], ...] | None = None  # the configurations of a table, of which some may be equal
    table: Table | None = None  # the table that stands for the space

    @property
    def objective(self) -> ObjectiveSpec:
        """The first objective, which determines the best epoch of a trial."""
        return self.objectives[0]

    def canonical(self) -> dict[str, Any]:
        """Return the file's content in canonical form, which is hashed to compare files.

        Comments, spacing, short forms and explicit defaults make no difference. Sections that earlier versions did not
        know are included only if the file has them, so that an old file keeps its hash.
        """
        network, others = self.network, self.objectives[1:]
        return {
            "study": self.study,
            "data": None if self.data is None else self.data.model_dump(mode="json"),
            "model": {"build": self.build} if network is None else network.canonical(),
            "space": [parameter.canonical() for parameter in self.space.parameters],
            "constraints": sorted(constraint.canonical for constraint in self.constraints),
            "search": self._canonical_search(),
            "training": None if self.training is None else self.training.canonical(),
            "objective": self.objective.model_dump(mode="json"),
            "models": self.models.model_dump(mode="json"),
            **({"objectives": [other.model_dump(mode="json") for other in others]} if others else {}),
            **({} if self.pruner is None else {"pruner": self.pruner.model_dump(mode="json")}),
            **({"when_finished": [step.canonical() for step in self.when_finished]} if self.when_finished else {}),
        }

    def _canonical_search(self) -> dict[str, Any]:
        """Return the search; the rows of a table count, not how and where they are written."""
        search = self.search.model_dump(mode="json", exclude={"file", "rows"})
        if self.search.constraints:
            search["constraints"] = sorted(one.canonical for one in outcome_constraints(self.search.constraints))
        return search if self.rows is None else search | {"rows": list(self.rows)}


def read_sections(data: Any, problems: Problems) -> Sections:
    """Read the data of a sweep file; a part that cannot be read becomes a problem and is left out of the result."""
    top = problems.mapping(data, (), KEYS)
    objectives = _read_objectives(top, problems)
    objective = objectives[0]
    required = ("study", "data") if objective.function else ("study", "data", "model", "training")
    for key in missing(KEYS, data) if isinstance(data, dict) else ():
        if key in required:
            problems.add((), f"the key {key!r} is missing; needed: {listed(required)}")
    search = read_search(top.get("search", {}), problems)
    table = None if search.rows is None else read_table(search.rows, problems)
    names = tuple(top["space"]) if isinstance(top.get("space"), dict) else None
    stands_for_space = None if "space" in top else table
    if stands_for_space is not None:
        top = data = {**top, "space": stands_for_space.inferred_space()}
        problems.show_space_in_table(stands_for_space.header)
    space = read_space(top.get("space", {}), problems, grid=search.method in GRID_METHODS)
    for name in space.priors if search.method in LISTED_METHODS else ():
        problems.add(
            ("space", name, "prior"), f"has no effect with the method {search.method!r}, which trains all rows"
        )
    rows: tuple[dict[str, Any], ...] | None = () if search.method == "table" else None
    if table is not None:
        rows = table.configurations(space, problems, declared=names)
    network, build = _read_model(top, problems)
    declared = list(top["space"]) if isinstance(top.get("space"), dict) else []
    training = _read_training(top, problems)
    # A column of a table without any value is inactive in all rows, and yet may be referred to.
    known = list(stands_for_space.names) if stands_for_space else declared
    constraints = list(_read_constraints(top.get("constraints", []), known, problems))
    _check_references(network, training, known, problems)
    search = read_fixed_and_enqueued(search, space, [constraint for constraint, _ in constraints], problems)
    search = check_outcome_constraints(search, problems, any_metric=_reports_own_metrics(top))
    if search.method == "cmaes" and search.constraints:
        problems.add(("search", "method"), "cmaes does not learn from constraints; use tpe, gp, nsga2 or nsga3")
    if search.constraints and "violation" in declared:
        problems.add(("space", "violation"), "a column of the leaderboard has this name if search has constraints")
    if search.method == "cmaes" and len(objectives) > 1:
        problems.add(("search", "method"), "cmaes supports one objective; for several use tpe, gp, nsga2 or nsga3")
    if not build and not objective.function and len(declared) <= MAX_PARAMETERS:
        _check_unused_parameters(data, declared, problems)
    images = _read_data(top["data"], problems) if "data" in top else None
    folds = None if images is None else images.folds
    check_until(search, objective, folds, problems)
    return Sections(
        study=_read_study(top.get("study"), problems) if "study" in top else "",
        data=images,
        network=network,
        build=build,
        space=space,
        constraints=tuple(constraint for constraint, _ in constraints),
        constraint_paths=tuple(place for _, place in constraints),
        search=search,
        pruner=read_pruner(top, objective, search, problems, folds=folds),
        training=training,
        objectives=objectives,
        models=_read_models(top.get("models", {}), problems),
        when_finished=read_when_finished(top, images, problems),
        rows=rows,
        table=stands_for_space,
    )


def _read_study(value: Any, problems: Problems) -> str:
    if not isinstance(value, str):
        problems.add(("study",), f"must be text ({STUDY_NAME_RULE}), not {show(value)}; put it in quotes")
        return ""
    if (problem := name_problem(value)) is not None:
        problems.add(("study",), problem)
    return value


def _read_data(value: Any, problems: Problems) -> DataSpec | None:
    path: KeyPath = ("data",)
    if not isinstance(value, dict) or "source" not in value:
        keys = f"'source', which is one of: {listed(SOURCES)}"
        problems.add(path, f"must be a mapping with the key {keys}; not {show(value)}")
        return None
    source = value["source"]
    if not isinstance(source, str) or source not in SOURCES:
        problems.add((*path, "source"), unknown("source", source, list(SOURCES)))
        return None
    spec: DataSpec | None = validate_section(SOURCES[source], value, path, problems)
    return spec


def _read_objectives(top: Any, problems: Problems) -> tuple[ObjectiveSpec, ...]:
    """Read the objectives: at least one, of which the first is measured after each epoch."""
    if "objectives" not in top:
        return (_read_objective(top, top.get("objective", {}), ("objective",), problems),)
    path, listing = ("objectives",), top["objectives"]
    if "objective" in top:
        problems.add(path, "needs either objective or objectives, not both")
    if not isinstance(listing, list) or not listing:
        example = "[{metric: val_accuracy}, {metric: parameters}]"
        problems.add(path, f"must be a list such as {example}, not {show(listing)}")
        listing = [{}]
    found = [
        _read_objective(top, value, (*path, index), problems, more=TRIAL_METRICS if index else ())
        for index, value in enumerate(listing)
    ]
    for index, one in enumerate(found[1:], start=1):
        if one.function is not None:
            problems.add((*path, index, "function"), "belongs to the first objective; it reports all metrics")
        if one.last_epochs is not None:
            words = "belongs to the first objective; the others are measured at the epoch whose weights are kept"
            problems.add((*path, index, "value"), words)
        if one.metric in [other.metric for other in found[:index]]:
            problems.add((*path, index, "metric"), f"{show(one.metric)} is an objective already")
    return tuple(found)


def _read_objective(
    top: Any, value: Any, path: KeyPath, problems: Problems, *, more: tuple[str, ...] = ()
) -> ObjectiveSpec:
    read: ObjectiveSpec | None = validate_section(ObjectiveSpec, value, path, problems)
    # Other sections and checks use the parts that could be read.
    texts = {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
    spec = read or ObjectiveSpec.model_construct(metric=texts.get("metric", "loss"), function=texts.get("function"))
    if spec.function is not None:
        _check_function(spec.function, (*path, "function"), problems)
    valid = (*objectives(), *more)
    if not (_reports_own_metrics(top) or is_objective(spec.metric) or spec.metric in more):
        problems.add((*path, "metric"), unknown("metric", spec.metric, valid))
    if "direction" in texts:
        return spec
    direction = Direction.MINIMIZE if spec.metric in TRIAL_METRICS else default_direction(spec.metric)
    return spec if spec.direction == direction else spec.model_copy(update={"direction": direction})


def _reports_own_metrics(top: Any) -> bool:
    """Return whether the user's objective function, or a model compiled by the user, can report any metric."""
    specs = [top.get("objective"), *(top["objectives"] if isinstance(top.get("objectives"), list) else ())]
    own_objective = any(isinstance(spec, dict) and spec.get("function") is not None for spec in specs)
    training = top.get("training")
    own_loop = isinstance(training, dict) and training.get("engine", "graph") != "graph"  # or $engine
    return own_objective or (own_loop and isinstance(top.get("model"), dict) and "build" in top["model"])


def _check_function(text: Any, path: KeyPath, problems: Problems) -> None:
    if not isinstance(text, str) or not _FUNCTION.fullmatch(text):
        problems.add(path, f"must be 'module:function', such as 'my_module:build', not {show(text)}")


def _read_model(top: Any, problems: Problems) -> tuple[NetworkTemplate | None, str | None]:
    if "model" not in top:
        return None, None
    path: KeyPath = ("model",)
    model = problems.mapping(top["model"], path, ("layers", "build"))
    if "layers" in model and "build" in model:
        problems.add(path, "needs either layers or build, not both")
    if top["model"] == {}:
        problems.add(path, "needs either layers or build")
    if "build" in model:
        _check_function(model["build"], (*path, "build"), problems)
        return None, str(model["build"])
    if "layers" not in model:
        return None, None
    invalid: list[InvalidValue] = []
    network = compile_network(model["layers"], (*path, "layers"), invalid)
    add_invalid_values([*invalid, *network.static_errors()], (), problems)
    return network, None


def _read_training(top: Any, problems: Problems) -> SpecTemplate | None:
    if "training" not in top:
        return None
    invalid: list[InvalidValue] = []
    training = compile_spec(top["training"], ("training",), invalid, model=TrainingSpec)
    threads = training.node.entries.get("threads")
    if threads is not None and threads.names:
        message = "applies to the whole study, so it cannot be a hyperparameter; write a number"
        problems.add(("training", "threads"), message)
    _check_monitor(top, problems)
    add_invalid_values([*invalid, *training.static_errors()], (), problems)
    return training


def _check_monitor(top: Any, problems: Problems) -> None:
    """Check the metric that early stopping follows, if it is written as a name."""
    stopping = top["training"].get("early_stopping") if isinstance(top["training"], dict) else None
    monitor = stopping.get("monitor") if isinstance(stopping, dict) else None
    if isinstance(monitor, str) and "$" not in monitor and not (_reports_own_metrics(top) or is_objective(monitor)):
        path = ("training", "early_stopping", "monitor")
        problems.add(path, unknown("metric", monitor, objectives()))


def _read_models(value: Any, problems: Problems) -> ModelsSpec:
    spec: ModelsSpec | None = validate_section(ModelsSpec, value, ("models",), problems)
    if spec is None:
        return ModelsSpec()
    if spec.keep < 0:
        problems.add(("models", "keep"), f"must be at least 0, not {spec.keep}")
    return spec


def _check_references(
    network: NetworkTemplate | None, training: SpecTemplate | None, declared: list[str], problems: Problems
) -> None:
    used = list(network_references(network.layers)) if network else []
    used += list(references(training.node)) if training else []
    choices, known = [f"${one}" for one in declared], set(declared)
    for name, path in used:
        if name == INDEX:
            problems.add(path, "'$index' is the round of a repeat and has no meaning outside one")
        elif name not in known:
            problems.add_unknown(path, "parameter", f"${name}", choices)


def _check_unused_parameters(data: Any, declared: list[str], problems: Problems) -> None:
    """Report parameters that nothing uses, even if other parts of a section could not be read."""
    used = used_parameters(data)
    for name in declared:
        if name not in used:
            cure = f"write ${name} under model or training, or remove it; for one value, {name}: [VALUE]"
            problems.add(("space", name), f"nothing uses the parameter {name!r}; {cure}")


def _read_constraints(value: Any, declared: list[str], problems: Problems) -> Iterator[tuple[Expression, KeyPath]]:
    path: KeyPath = ("constraints",)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        problems.add(path, f'must be a list such as ["batch_size * filters <= 2048"], not {show(value)}')
        return
    if len(texts) > MAX_CONSTRAINTS:
        problems.add(
            path, f"a sweep can have {MAX_CONSTRAINTS} constraints, this one has {len(texts):,}; join some by and"
        )
        return
    known = set(declared)
    for index, text in enumerate(texts):
        place = (*path, index)
        if not isinstance(text, str):
            problems.add(place, f"must be text such as 'batch_size * filters <= 2048', not {show(text)}")
            continue
        try:
            constraint = Expression(text)
        except ExpressionError as error:
            problems.add(place, str(error))
            continue
        unknown_names = [name for name in constraint.names if name not in known]
        for name in unknown_names:
            quotes = f"; put a text in quotes: '{name}'" if _is_compared(constraint, name) else ""
            problems.add_unknown(place, "parameter", name, declared, quotes)
        if not constraint.names:
            problems.add(place, f"{show(text)} mentions no parameter; valid: {listed(declared)}")
        elif isinstance(constraint.tree, ast.BinOp | ast.Constant | ast.List | ast.Tuple):
            hint = point_hint(text) or "; compare it with something, as in 'filters <= 32'"
            problems.add(place, f"{show(text)} is not a condition{hint}")
        elif not unknown_names:
            yield constraint, place


def _is_compared(constraint: Expression, name: str) -> bool:
    """Return whether a name is compared with something, as a text without quotes would be."""
    compared = [node for node in ast.walk(constraint.tree) if isinstance(node, ast.Compare)]
    return any(isinstance(one, ast.Name) and one.id == name for node in compared for one in ast.walk(node))
