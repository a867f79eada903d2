"""What a sweep file means, as plain data in one form."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from cnn_sweep.sweep.network.template import Repeat
from cnn_sweep.sweep.space.space import Choices
from cnn_sweep.sweep.space.templates import Entries, Formula, Items, Plain, Reference
from cnn_sweep.validation import normal

if TYPE_CHECKING:
    from cnn_sweep.sweep.file.sections import Sections
    from cnn_sweep.sweep.space.space import Parameter
    from cnn_sweep.sweep.space.templates import Node, SpecTemplate
    from cnn_sweep.validation import Spec


def canonical(sections: Sections) -> dict[str, Any]:
    """Return what a file means: comments, spacing, short forms and written-out defaults do not show."""
    network, pruner = sections.network, sections.pruner
    return {
        "study": sections.study,
        "data": None if sections.data is None else sections.data.model_dump(mode="json"),
        "model": {"build": sections.build} if network is None else [_layer(layer) for layer in network.layers],
        "space": [_parameter(parameter) for parameter in sections.space.parameters],
        "constraints": sorted(constraint.canonical for constraint in sections.constraints),
        "search": sections.search.model_dump(mode="json"),
        "training": None if sections.training is None else _spec(sections.training),
        "objective": sections.objective.model_dump(mode="json"),
        "models": {"keep": sections.models_keep},
        **(
            {"objectives": [one.model_dump(mode="json") for one in sections.objectives[1:]]}
            if sections.objectives[1:]
            else {}
        ),
        # What a file of an earlier version could not say has no place in its meaning.
        **({} if pruner is None else {"pruner": pruner.model_dump(mode="json")}),
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    domain = parameter.domain
    if isinstance(domain, Choices):
        values: dict[str, Any] = {"choices": list(domain.values)}
    else:
        values = {"low": domain.low, "high": domain.high, "step": domain.step}
        values |= {"log": domain.log, "points": domain.points}
    when = {name: list(accepted) for name, accepted in parameter.when.items()}
    return {"name": parameter.name, **values, "when": when}


def _layer(layer: SpecTemplate | Repeat) -> dict[str, Any]:
    if isinstance(layer, Repeat):
        return {"repeat": _node(layer.times), "layers": [_layer(inner) for inner in layer.layers]}
    return {"layer": layer.model.__name__, **_spec(layer)}


def _spec(template: SpecTemplate) -> dict[str, Any]:
    if not template.node.names:
        data: dict[str, Any] = template.resolve({}).model_dump(mode="json")
        return data
    given = {}
    for name, node in template.node.entries.items():
        if not isinstance(node, Plain):
            given[name] = _node(node)
            continue
        field = _field(template.model, name)
        value = field.dump_python(field.validate_python(normal(node.value), strict=True), mode="json")
        info = template.model.model_fields[name]
        if info.is_required() or value != field.dump_python(info.get_default(), mode="json"):
            given[name] = value
    return given


@cache
def _field(model: type[Spec], name: str) -> TypeAdapter[Any]:
    """Return what reads one field, so that 3 and [3, 3] are the same kernel size."""
    return TypeAdapter(model.model_fields[name].rebuild_annotation())


def _node(node: Node) -> Any:
    if isinstance(node, Reference):
        return node.text
    if isinstance(node, Formula):
        return f"$ {node.expression.canonical}"
    if isinstance(node, Items):
        return [_node(item) for item in node.items]
    if isinstance(node, Entries):
        return {name: _node(item) for name, item in node.entries.items()}
    return to_jsonable_python(normal(node.value)) if isinstance(node, Plain) else None
