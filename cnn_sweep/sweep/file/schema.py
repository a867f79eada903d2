"""JSON Schema of sweep files, made from the models and tables that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.json_schema import DRAFT, Schema, definitions, ref
from cnn_sweep.sweep.expressions.expression import RESERVED
from cnn_sweep.sweep.file.sections import KEYS, ModelsSpec
from cnn_sweep.sweep.file.space_section import MAX_POINTS
from cnn_sweep.sweep.identity import STUDY_NAME_RULE
from cnn_sweep.sweep.network.template import LAYERS, MAX_ROUNDS
from cnn_sweep.sweep.spec.data import SOURCES
from cnn_sweep.sweep.spec.search import OPTIONS, PRUNERS, SearchSpec
from cnn_sweep.sweep.spec.training import TrainingSpec
from cnn_sweep.sweep.spec.trial import ObjectiveSpec
from cnn_sweep.sweep.spec.when_finished import STEPS
from cnn_sweep.validation import file_key

if TYPE_CHECKING:
    from pathlib import Path

    from cnn_sweep.validation import Spec

_REFERENCE: Final = {"$ref": "#/definitions/Reference"}
_ANY: Final[Schema] = {}
_NUMBER: Final = {"type": "number"}
_FUNCTION: Final = {"type": "string", "pattern": r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"}
# The first part keeps out words of expressions, which cannot name a hyperparameter.
_NAME: Final = rf"^(?!(?:{'|'.join(sorted(RESERVED))})$)[A-Za-z_][A-Za-z0-9_]*$"


def schema_line(schema: Path | str) -> str:
    """Return the comment that names a sweep file's schema to editors; it is the file's first line."""
    return f"# yaml-language-server: $schema={schema}"


def sweep_schema() -> Schema:
    """Return the JSON Schema of a sweep file."""
    with_references = definitions([TrainingSpec, *LAYERS.values()])
    plain = definitions(
        [
            *SOURCES.values(),
            SearchSpec,
            *OPTIONS.values(),
            *PRUNERS.values(),
            *STEPS.values(),
            ObjectiveSpec,
            ModelsSpec,
        ]
    )
    made = plain | {name: _accepting_references(schema) for name, schema in with_references.items()}
    made |= {"Reference": _reference(), "Layer": _layer(made), "Hyperparameter": _hyperparameter()}
    made["SearchSpec"] = _search(made["SearchSpec"])
    # With included files, or an objective function, keys of these sections may be elsewhere.
    needed = {"training": made["TrainingSpec"].pop("required"), "data": ["source"]}
    return {
        "$schema": DRAFT,
        "title": "Sweep file of cnn-sweep",
        "type": "object",
        "properties": {key: _sections()[key] for key in KEYS},
        "additionalProperties": False,
        "if": {"anyOf": [{"required": ["include"]}]},
        "else": {
            "properties": {key: {"required": names} for key, names in needed.items()},
            "required": ["study", "data"],
            "if": {"not": {"anyOf": _own_objective()}},
            "then": {"required": ["model", "training"]},
        },
        "definitions": dict(sorted(made.items())),
    }


def _own_objective() -> list[Schema]:
    """Return schemas of files whose objective function does everything itself."""
    function = {"required": ["function"]}
    return [
        {"required": ["objective"], "properties": {"objective": function}},
        {"required": ["objectives"], "properties": {"objectives": {"items": [function]}}},
    ]


def _sections() -> dict[str, Schema]:
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "study": {
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
            "description": f"Name of the study: {STUDY_NAME_RULE}.",
        },
        "data": _data(),
        "model": _model(),
        "space": {
            "type": "object",
            "propertyNames": {"pattern": _NAME},
            "additionalProperties": {"$ref": "#/definitions/Hyperparameter"},
            "description": "The hyperparameters, each with its choices or its range.",
        },
        "constraints": {
            "anyOf": [{"type": "string"}, texts],
            "description": 'Conditions that every configuration must satisfy, such as "batch_size * filters <= 2048".',
        },
        "search": ref(SearchSpec),
        "pruner": _pruner(),
        "training": ref(TrainingSpec),
        "objective": ref(ObjectiveSpec),
        "objectives": {"type": "array", "minItems": 1, "items": ref(ObjectiveSpec)},
        "models": ref(ModelsSpec),
        "when_finished": _when_finished(),
        "include": {
            "anyOf": [{"type": "string"}, texts],
            "description": "Files with keys that count where this file does not have them.",
        },
    }


def _data() -> Schema:
    return {
        "type": "object",
        "properties": {"source": {"enum": list(SOURCES), "description": "Where the images come from."}},
        "allOf": [
            {"if": {"properties": {"source": {"const": source}}, "required": ["source"]}, "then": ref(model)}
            for source, model in SOURCES.items()
        ],
        "description": "The images, their labels and their splits.",
    }


def _model() -> Schema:
    layers = {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/Layer"}}
    return {
        "type": "object",
        "properties": {
            "layers": layers | {"description": "The layers; the last one is output."},
            "build": _FUNCTION | {"description": "A function that returns a Keras model: module:function."},
        },
        "additionalProperties": False,
        "maxProperties": 1,
        "description": "The network: layers, or a function of your own.",
    }


def _layer(made: dict[str, Schema]) -> Schema:
    settings = {name: _settings(model, made[model.__name__]) for name, model in LAYERS.items()}
    times = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_ROUNDS}, _REFERENCE]}
    settings["repeat"] = {
        "type": "object",
        "properties": {
            "times": times | {"description": "Number of rounds."},
            "layers": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/Layer"}},
        },
        "required": ["times", "layers"],
        "additionalProperties": False,
        "description": "Layers that are repeated; $index is the number of the round, from 0.",
    }
    alone = [name for name, model in LAYERS.items() if not made[model.__name__].get("required")]
    return {"anyOf": [{"enum": alone}, _one_of(settings)], "description": "A layer with its settings."}


def _settings(model: type[Spec], made: Schema) -> Schema:
    """Return the schema of a layer's settings: a mapping, the value of its main setting, or nothing."""
    forms = [ref(model)]
    if model.SHORT is not None:
        forms.append(made["properties"][file_key(model, model.SHORT)])
    if not made.get("required"):
        forms.append({"type": "null"})
    return {"anyOf": forms, "description": made["description"]}


def _one_of(settings: dict[str, Schema]) -> Schema:
    """Return the schema of a mapping with exactly one of some keys."""
    return {
        "type": "object",
        "properties": settings,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }


def _hyperparameter() -> Schema:
    value = {"type": ["number", "string", "boolean", "null", "array"]}
    choices = {"type": "array", "minItems": 1, "items": value, "description": "The values."}
    when = {
        "type": "object",
        "minProperties": 1,
        "description": "Values of other hyperparameters with which this one is active.",
    }
    prior = {"description": "The value that you believe to be best; it is tried first, with a few around it."}
    limits = {
        "low": _NUMBER | {"description": "Smallest value."},
        "high": _NUMBER | {"description": "Largest value."},
        "step": _NUMBER | {"exclusiveMinimum": 0, "description": "Distance between values."},
        "log": {"type": "boolean", "description": "Whether values are even on a logarithmic scale."},
        "points": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_POINTS,
            "description": "How many of its values a grid uses.",
        },
        "when": when,
        "prior": prior,
    }
    listed = {"properties": {"choices": choices, "when": when, "prior": prior}, "required": ["choices"]}
    ranged = {"properties": limits, "required": ["low", "high"]}
    closed = {"type": "object", "additionalProperties": False}
    return {
        "anyOf": [choices, closed | listed, closed | ranged],
        "description": "A list of choices, or a range {low, high}.",
    }


def _search(schema: Schema) -> Schema:
    """Give each method its options."""
    schema["allOf"] = [
        {
            "if": {"properties": {"method": {"const": method}}, "required": ["method"]},
            "then": {"properties": {"options": ref(model)}},
        }
        for method, model in OPTIONS.items()
    ]
    return schema


def _pruner() -> Schema:
    settings = {name: {"anyOf": [ref(model), {"type": "null"}]} for name, model in PRUNERS.items()}
    return {
        "anyOf": [{"enum": list(PRUNERS)}, _one_of(settings)],
        "description": "What ends trials early: a name, or a name with its settings.",
    }


def _when_finished() -> Schema:
    settings = {name: {"anyOf": [ref(model), {"type": "null"}]} for name, model in STEPS.items()}
    return {
        "type": "array",
        "items": {"anyOf": [{"enum": list(STEPS)}, _one_of(settings)]},
        "description": "Commands that run once the study has ended, in this order.",
    }


def _reference() -> Schema:
    return {
        "type": "string",
        "pattern": r"\$",
        "description": "The value of a hyperparameter ($name), or an expression such as $filters * 2.",
    }


def _accepting_references(schema: Any) -> Any:
    """Return a schema in which a reference may stand for each value."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in ("properties", "definitions"):
        if key in made:
            made[key] = {name: _or_reference(value) for name, value in made[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(made.get(key), list):
            made[key] = [_or_reference(item) for item in made[key]]
        elif isinstance(made.get(key), dict):
            made[key] = _or_reference(made[key])
    if "anyOf" in made:
        made["anyOf"] = [_accepting_references(form) for form in made["anyOf"]]
    return made


def _or_reference(schema: Schema) -> Schema:
    inner = _accepting_references(schema)
    outside = {key: inner.pop(key) for key in ("description", "default") if key in inner}
    forms = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {"anyOf": [*forms, _REFERENCE], **outside}
