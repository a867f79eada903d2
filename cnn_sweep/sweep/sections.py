"""Reads a whole sweep file, section by section, and finds all that is wrong with it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.sweep.data_spec import SOURCES, DataSpec
from cnn_sweep.sweep.direction import Direction
from cnn_sweep.sweep.enqueued import read_given
from cnn_sweep.sweep.expressions import REFERENCE, Expression, ExpressionError, point_hint
from cnn_sweep.sweep.network import Spec
from cnn_sweep.sweep.network_template import INDEX, NetworkTemplate, compile_network, network_references
from cnn_sweep.sweep.problems import listed, missing, show, unknown
from cnn_sweep.sweep.pruner_spec import PRUNERS, PrunerSpec, settings_of
from cnn_sweep.sweep.search_spec import ON_A_GRID, OPTIONS, SearchSpec
from cnn_sweep.sweep.space_file import read_space
from cnn_sweep.sweep.study_name import RULE, STUDY_NAME
from cnn_sweep.sweep.templates import SpecTemplate, compile_spec, references
from cnn_sweep.sweep.trial import ObjectiveSpec, TrainingSpec
from cnn_sweep.sweep.validation import check, file_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cnn_sweep.sweep.problems import Problems
    from cnn_sweep.sweep.space import Space
    from cnn_sweep.sweep.validation import InvalidValue
    from cnn_sweep.sweep.yaml import Path

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
)
FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
OF_A_TRIAL: Final = ("parameters", "seconds")  # objectives beside metrics: less is better
METRICS: Final = ("val_accuracy", "val_loss", "val_auc", "val_macro_f1", "accuracy", "loss")


@dataclass(frozen=True)
class Sections:
    """What a sweep file says, read but not yet tried with values of its hyperparameters."""

    study: str
    data: DataSpec | None
    network: NetworkTemplate | None
    build: str | None
    space: Space
    constraints: tuple[Expression, ...]
    constraint_paths: tuple[Path, ...]
    search: SearchSpec
    pruner: PrunerSpec | None
    training: SpecTemplate | None
    objectives: tuple[ObjectiveSpec, ...]
    models_keep: int

    @property
    def objective(self) -> ObjectiveSpec:
        """The first objective, which decides which epoch of a trial is its best."""
        return self.objectives[0]


class ModelsSpec(Spec):
    """Which models are kept."""

    keep: int = 1


def read_sections(data: Any, problems: Problems) -> Sections:
    """Read the data of a sweep file; what cannot be read is a mistake, and missing from the result."""
    top = problems.mapping(data, (), KEYS)
    objectives = _read_objectives(top, problems)
    objective = objectives[0]
    required = ("study", "data") if objective.function else ("study", "data", "model", "training")
    for key in missing(KEYS, data) if isinstance(data, dict) else ():
        if key in required:
            problems.add((), f"the key {key!r} is missing; needed: {listed(required)}")
    search = _read_search(top.get("search", {}), problems)
    space = read_space(top.get("space", {}), problems, grid=search.method in ON_A_GRID)
    network, build = _read_model(top, problems)
    declared = list(top["space"]) if isinstance(top.get("space"), dict) else []
    training = _read_training(top, problems)
    constraints = list(_read_constraints(top.get("constraints", []), declared, problems))
    _check_references(network, training, declared, problems)
    search = read_given(search, space, [constraint for constraint, _ in constraints], problems)
    _check_until(search, objective, problems)
    if search.method == "cmaes" and len(objectives) > 1:
        problems.add(("search", "method"), "cmaes takes one objective; valid with several: tpe, gp, nsga2, nsga3")
    if not build and not objective.function:
        _check_use(data, declared, problems)
    return Sections(
        study=_read_study(top.get("study"), problems) if "study" in top else "",
        data=_read_data(top["data"], problems) if "data" in top else None,
        network=network,
        build=build,
        space=space,
        constraints=tuple(constraint for constraint, _ in constraints),
        constraint_paths=tuple(place for _, place in constraints),
        search=search,
        pruner=_read_pruner(top, objective, search, problems),
        training=training,
        objectives=objectives,
        models_keep=_read_models(top.get("models", {}), problems),
    )


def report(invalid: Iterable[InvalidValue], path: Path, problems: Problems) -> None:
    """Note invalid values as problems; a missing key is told at the mapping that should have it."""
    for one in invalid:
        place = (*path, *one.path)
        problems.add(place[:-1] if one.kind == "missing" else place, str(one))


def _checked(model: type[Spec], value: Any, path: Path, problems: Problems) -> Any:
    """Read a section that has no references."""
    if not isinstance(value, dict):
        problems.add(path, f"must be a mapping with the keys {listed(file_keys(model))}, not {show(value)}")
        return None
    spec, invalid = check(model, value)
    report(invalid, path, problems)
    return spec


def _read_study(value: Any, problems: Problems) -> str:
    if not isinstance(value, str):
        problems.add(("study",), f"must be text ({RULE}), not {show(value)}; put it in quotes")
        return ""
    if not STUDY_NAME.fullmatch(value):
        problems.add(("study",), f"{show(value)} cannot name a study; it must be {RULE}")
    return value


def _read_data(value: Any, problems: Problems) -> DataSpec | None:
    path: Path = ("data",)
    if not isinstance(value, dict) or "source" not in value:
        keys = f"'source', which is one of: {listed(SOURCES)}"
        problems.add(path, f"must be a mapping with the key {keys}; not {show(value)}")
        return None
    source = value["source"]
    if not isinstance(source, str) or source not in SOURCES:
        problems.add((*path, "source"), unknown("source", source, list(SOURCES)))
        return None
    spec: DataSpec | None = _checked(SOURCES[source], value, path, problems)
    return spec


def _read_search(value: Any, problems: Problems) -> SearchSpec:
    path: Path = ("search",)
    spec: SearchSpec | None = _checked(SearchSpec, value, path, problems)
    if spec is None:
        method = value.get("method") if isinstance(value, dict) else None
        # With another method the ranges of the space would look wrong too.
        return SearchSpec(method="grid" if method is None or method in ON_A_GRID else "random", trials=1)
    if spec.method not in ON_A_GRID and spec.most_trials is None:
        problems.add(path, f"the method {spec.method!r} needs to know how many trials; add trials: 50")
    options = spec.options
    if model := OPTIONS.get(spec.method):
        read = _checked(model, options, (*path, "options"), problems)
        return spec.model_copy(update={"options": read.model_dump() if read else {}})
    for key in options:
        problems.add((*path, "options", key), f"the method {spec.method!r} has no options, but {show(key)} is given")
    return spec


def _read_pruner(top: Any, objective: ObjectiveSpec, search: SearchSpec, problems: Problems) -> PrunerSpec | None:
    if "pruner" not in top:
        return None
    path: Path = ("pruner",)
    found = settings_of(top["pruner"])
    if found is None:
        problems.add(path, f"must be one of {listed(PRUNERS)}, as in pruner: {{asha: {{reduction: 3}}}}")
        return None
    name, settings = found
    if name not in PRUNERS:
        problems.add(path, unknown("pruner", name, list(PRUNERS)))
        return None
    if name in ("asha", "hyperband") and objective.function is not None:
        problems.add(path, f"{name} pauses trials at a checkpoint, and objective.function writes none; try median")
    if name == "wilcoxon" and search.repeats < 2:
        problems.add(path, "wilcoxon compares repeats of configurations; add repeats: 5 to the search")
    spec: PrunerSpec | None = _checked(PRUNERS[name], settings, (*path, name), problems)
    return spec


def _check_until(search: SearchSpec, objective: ObjectiveSpec, problems: Problems) -> None:
    """See that the search can tell when it has reached what it is to reach."""
    for name in search.until:
        if name != objective.metric:
            problems.add(("search", "until", name), unknown("objective", name, [objective.metric]))


def _read_objectives(top: Any, problems: Problems) -> tuple[ObjectiveSpec, ...]:
    """Read what is optimised; there is at least one objective, and the first is a metric of each epoch."""
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
        _read_objective(top, value, (*path, index), problems, more=OF_A_TRIAL if index else ())
        for index, value in enumerate(listing)
    ]
    for index, one in enumerate(found[1:], start=1):
        if one.function is not None:
            problems.add((*path, index, "function"), "belongs to the first objective; it reports all metrics")
        if one.metric in [other.metric for other in found[:index]]:
            problems.add((*path, index, "metric"), f"{show(one.metric)} is an objective already")
    return tuple(found)


def _read_objective(
    top: Any, value: Any, path: Path, problems: Problems, *, more: tuple[str, ...] = ()
) -> ObjectiveSpec:
    read: ObjectiveSpec | None = _checked(ObjectiveSpec, value, path, problems)
    # Other sections and checks need what could be read of it.
    texts = {key: text for key, text in value.items() if isinstance(text, str)} if isinstance(value, dict) else {}
    spec = read or ObjectiveSpec.model_construct(metric=texts.get("metric", "loss"), function=texts.get("function"))
    if spec.function is not None:
        _check_function(spec.function, (*path, "function"), problems)
    if not _has_own_metrics(top) and spec.metric not in (*METRICS, *more):
        problems.add((*path, "metric"), unknown("metric", spec.metric, (*METRICS, *more)))
    if "direction" not in texts and (spec.metric.endswith("loss") or spec.metric in OF_A_TRIAL):
        return spec.model_copy(update={"direction": Direction.MINIMIZE})
    return spec


def _has_own_metrics(top: Any) -> bool:
    """Tell whether an objective of the user's may report any metric, or a network that comes compiled."""
    specs = [top.get("objective"), *(top["objectives"] if isinstance(top.get("objectives"), list) else ())]
    own_objective = any(isinstance(spec, dict) and spec.get("function") is not None for spec in specs)
    training = top.get("training")
    own_loop = isinstance(training, dict) and training.get("engine", "graph") != "graph"  # or a hyperparameter
    return own_objective or (own_loop and isinstance(top.get("model"), dict) and "build" in top["model"])


def _check_function(text: Any, path: Path, problems: Problems) -> None:
    if not isinstance(text, str) or not FUNCTION.fullmatch(text):
        problems.add(path, f"must be 'module:function', such as 'my_module:build', not {show(text)}")


def _read_model(top: Any, problems: Problems) -> tuple[NetworkTemplate | None, str | None]:
    if "model" not in top:
        return None, None
    path: Path = ("model",)
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
    report([*invalid, *network.static_invalid()], (), problems)
    return network, None


def _read_training(top: Any, problems: Problems) -> SpecTemplate | None:
    if "training" not in top:
        return None
    invalid: list[InvalidValue] = []
    training = compile_spec(top["training"], ("training",), invalid, model=TrainingSpec)
    threads = training.node.entries.get("threads")
    if threads is not None and threads.names:
        message = "belongs to the whole study, so that it cannot be a hyperparameter; write a number"
        problems.add(("training", "threads"), message)
    report([*invalid, *training.static_invalid()], (), problems)
    return training


def _read_models(value: Any, problems: Problems) -> int:
    spec: ModelsSpec | None = _checked(ModelsSpec, value, ("models",), problems)
    if spec is None:
        return 1
    if spec.keep < 0:
        problems.add(("models", "keep"), f"{spec.keep} is not possible; it must be at least 0")
    return spec.keep


def _check_references(
    network: NetworkTemplate | None, training: SpecTemplate | None, declared: list[str], problems: Problems
) -> None:
    used = list(network_references(network.layers)) if network else []
    used += list(references(training.node)) if training else []
    for name, path in used:
        if name == INDEX:
            problems.add(path, "'$index' is the round of a repeat; it has no meaning outside of one")
        elif name not in declared:
            problems.add(path, unknown("parameter", f"${name}", [f"${one}" for one in declared]))


def _check_use(data: Any, declared: list[str], problems: Problems) -> None:
    """Find parameters that nothing uses, also where the rest of a section could not be read."""
    parts = data.items() if isinstance(data, dict) else ()
    used = set(_referred([part for key, part in parts if key not in ("space", "constraints")]))
    for name in declared:
        if name not in used:
            message = f"nothing uses the parameter {name!r}; write ${name} under model or training"
            problems.add(("space", name), message)


def _referred(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _referred(item)


def _read_constraints(value: Any, declared: list[str], problems: Problems) -> Iterator[tuple[Expression, Path]]:
    path: Path = ("constraints",)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        problems.add(path, f'must be a list such as ["batch_size * filters <= 2048"], not {show(value)}')
        return
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
        unknown_names = [name for name in constraint.names if name not in declared]
        for name in unknown_names:
            quotes = f"; a text stands in quotes: '{name}'" if _is_compared(text, name) else ""
            problems.add(place, unknown("parameter", name, declared) + quotes)
        if not constraint.names:
            problems.add(place, f"{show(text)} mentions no parameter; valid: {listed(declared)}")
        elif not _is_condition(text):
            hint = point_hint(text) or "; compare it with something, as in 'filters <= 32'"
            problems.add(place, f"{show(text)} is not a condition{hint}")
        elif not unknown_names:
            yield constraint, place


def _is_compared(text: str, name: str) -> bool:
    """Return whether a name is compared with something, as a text without quotes would be."""
    compared = [node for node in ast.walk(_tree(text)) if isinstance(node, ast.Compare)]
    return any(isinstance(one, ast.Name) and one.id == name for node in compared for one in ast.walk(node))


def _tree(text: str) -> ast.expr:
    return ast.parse(REFERENCE.sub(r"\1", text).strip(), mode="eval").body


def _is_condition(text: str) -> bool:
    return not isinstance(_tree(text), ast.BinOp | ast.Constant | ast.List | ast.Tuple)
