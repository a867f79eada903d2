"""JSON Schemas of users' files, made from the models that check them; editors use them to complete and to check."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from cnn_sweep.validation import Spec, file_keys, nested_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import core_schema

DRAFT: Final = "http://json-schema.org/draft-07/schema#"  # the newest that all editors read
Schema = dict[str, Any]
_PREFIX: Final = "#/definitions/"
_FOREIGN: Final = {"title", "discriminator", "gt", "ge", "lt", "le"}  # words of pydantic and OpenAPI, or of no use here
_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def ref(model: type[Spec]) -> Schema:
    """Return a reference to the definition of a model."""
    return {"$ref": f"{_PREFIX}{model.__name__}"}


def definitions(models: Iterable[type[Spec]]) -> dict[str, Schema]:
    """Return the schemas of models and of all models inside them, by name, with the keys that the file has."""
    _, schema = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Generator, ref_template=f"{_PREFIX}{{model}}"
    )
    found: dict[str, Schema] = _simple(schema["$defs"])
    return found


class _Generator(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        """Return the schema of one model, with the keys and the descriptions that its users see."""
        made = super().model_schema(schema)
        model = schema["cls"]
        if not issubclass(model, Spec):
            return made
        notes, fields = field_notes(model), made.get("properties", {})
        keys = {key: name for key, name in file_keys(model).items() if name in fields}
        made["properties"] = {
            key: _with_short(model, name, fields[name]) | ({"description": notes[name]} if name in notes else {})
            for key, name in keys.items()
        }
        required = [key for key, name in keys.items() if name in made.pop("required", made.get("required", []))]
        made["description"] = _first_paragraph(model)
        return made | ({"required": required} if required else {})


def _with_short(model: type[Spec], name: str, schema: Schema) -> Schema:
    """Return the schema of a field that may have the short form of its model."""
    nested = nested_model(model, name)
    if nested is None or nested.SHORT is None:
        return schema
    outside = {"default": schema.pop("default")} if "default" in schema else {}
    short: Any = nested.model_fields[nested.SHORT].annotation
    return {"anyOf": [schema, TypeAdapter(short).json_schema()], **outside}


def field_notes(model: type[Spec]) -> dict[str, str]:
    """Return what the source says about each field: in the docstring's attributes, or in a comment behind it."""
    notes: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if not (issubclass(one, Spec) and one is not Spec):
            continue
        attributes = (inspect.getdoc(one) or "").partition("Attributes:\n")[2]
        notes |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(attributes)}
        notes |= _comments(one)
    return notes


def _comments(model: type[Spec]) -> dict[str, str]:
    source = textwrap.dedent(inspect.getsource(model))
    lines = source.splitlines()
    found = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined] # the body is that of a class
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            for line in (lines[node.lineno - 1], lines[(node.end_lineno or node.lineno) - 1]):
                if comment := line.partition("  # ")[2].strip():
                    found[node.target.id] = comment
    return found


def _first_paragraph(model: type[Spec]) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


def _simple(schema: Any) -> Any:
    """Return a schema in the words of draft 7, without titles; one of several forms may fit together with another."""
    if isinstance(schema, list):
        return [_simple(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _simple(item) for name, item in value.items()}
        elif key == "prefixItems":
            made["items"] = _simple(value)
        elif key not in _FOREIGN:
            made["anyOf" if key == "oneOf" else key] = value if key in {"default", "enum"} else _simple(value)
    return made
