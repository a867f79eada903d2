"""Parts of a sweep file with ``$references``: compiled once, then filled in for each configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from cnn_sweep.messages import closest, listed, show, unknown
from cnn_sweep.sweep.expressions.expression import ABSENT, REFERENCE, Expression
from cnn_sweep.sweep.expressions.parser import ExpressionError
from cnn_sweep.validation import InvalidValue, file_keys, long_form, nested_model, normalize, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cnn_sweep.messages import KeyPath
    from cnn_sweep.validation import Spec

_MEMO_SIZE = 20_000


class InvalidValuesError(ValueError):
    """A template has invalid values for a configuration.

    Attributes:
        invalid: All mistakes, with paths from the top of the file.
    """

    def __init__(self, invalid: list[InvalidValue]) -> None:
        self.invalid = invalid
        super().__init__("; ".join(map(str, invalid)))


@dataclass(frozen=True)
class Plain:
    """A value without references."""

    value: Any
    names: frozenset[str] = frozenset()

    def fill(self, _params: Mapping[str, Any]) -> Any:
        """Return the value."""
        return self.value

    def canonical(self) -> Any:
        """Return the value in JSON's form: lists for tuples, 8 for 8.0."""
        return to_jsonable_python(normalize(self.value))


@dataclass(frozen=True)
class Reference:
    """``$name`` alone: the parameter's own value."""

    name: str
    path: KeyPath

    @property
    def names(self) -> frozenset[str]:
        """The parameter."""
        return frozenset((self.name,))

    @property
    def text(self) -> str:
        """The reference as the user wrote it."""
        return f"${self.name}"

    def fill(self, params: Mapping[str, Any]) -> Any:
        """Return the parameter's value, or ``ABSENT``."""
        return params.get(self.name, ABSENT)

    def canonical(self) -> str:
        """Return the reference as the user wrote it."""
        return self.text


@dataclass(frozen=True)
class Broken:
    """A text that could not be compiled; it counts as absent, so that it causes no further messages."""

    names: frozenset[str] = frozenset()

    def fill(self, _params: Mapping[str, Any]) -> Any:
        """Return ``ABSENT``."""
        return ABSENT

    def canonical(self) -> None:
        """Return None, since a file with such a text is refused."""


@dataclass(frozen=True)
class Formula:
    """Arithmetic on parameters."""

    text: str
    expression: Expression
    path: KeyPath

    @property
    def names(self) -> frozenset[str]:
        """The parameters in it."""
        return frozenset(self.expression.names)

    def fill(self, params: Mapping[str, Any]) -> Any:
        """Compute the value, or ``ABSENT``.

        Raises:
            InvalidValuesError: The expression has no value.
        """
        try:
            return self.expression.evaluate(params)
        except ExpressionError as error:
            raise InvalidValuesError([InvalidValue(self.path, "expression", self.text, str(error))]) from error

    def canonical(self) -> str:
        """Return the expression as text, independent of spaces and redundant brackets."""
        return f"$ {self.expression.canonical}"


@dataclass(frozen=True)
class Items:
    """A list; absent if one of its items is."""

    items: tuple[Node, ...]
    names: frozenset[str]

    def fill(self, params: Mapping[str, Any]) -> Any:
        """Fill in each item."""
        values = [item.fill(params) for item in self.items]
        return ABSENT if any(value is ABSENT for value in values) else values

    def canonical(self) -> list[Any]:
        """Return the canonical form of each item."""
        return [item.canonical() for item in self.items]


@dataclass(frozen=True)
class Entries:
    """A mapping. A key whose value is absent is left out; if the key is required, the whole mapping is absent."""

    entries: Mapping[str, Node]
    required: frozenset[str]
    names: frozenset[str]
    misspelt: frozenset[str] = frozenset()

    def fill(self, params: Mapping[str, Any]) -> Any:
        """Fill in each value."""
        filled = {}
        for key, node in self.entries.items():
            value = node.fill(params)
            if value is not ABSENT:
                filled[key] = value
            elif key in self.required:
                return ABSENT
        return filled

    def canonical(self) -> dict[str, Any]:
        """Return the canonical form of each value."""
        return {name: node.canonical() for name, node in self.entries.items()}


Node = Plain | Reference | Formula | Broken | Items | Entries


def references(node: Node) -> Iterator[tuple[str, KeyPath]]:
    """Yield each parameter that a node refers to, with the path of the reference."""
    if isinstance(node, Reference | Formula):
        yield from ((name, node.path) for name in sorted(node.names))
    elif isinstance(node, Items):
        for item in node.items:
            yield from references(item)
    elif isinstance(node, Entries):
        for item in node.entries.values():
            yield from references(item)


def compile_node(value: Any, path: KeyPath, invalid: list[InvalidValue], *, model: type[Spec] | None = None) -> Node:
    """Compile a part of the file.

    Args:
        value: The value in the file.
        path: Path of keys to it.
        invalid: Mistakes in references are added to it.
        model: Model that a mapping becomes, or a text if the model has a short form; keys are replaced by the model's
            field names.
    """
    if isinstance(value, str) and model is not None:
        value = long_form(value, model)
    if isinstance(value, str) and "$" in value:
        return _compile_text(value, path, invalid)
    if isinstance(value, list):
        items = tuple(compile_node(item, (*path, index), invalid) for index, item in enumerate(value))
        names = frozenset[str]().union(*(item.names for item in items))
        return Items(items, names) if names else Plain(value)
    if isinstance(value, dict):
        return _compile_mapping(value, path, invalid, model)
    return Plain(value)


def _compile_text(text: str, path: KeyPath, invalid: list[InvalidValue]) -> Node:
    if match := REFERENCE.fullmatch(text.strip()):
        return Reference(match[1], path)
    referred = set(REFERENCE.findall(text))
    if "$" in REFERENCE.sub("", text):
        message = f"{show(text)}: a '$' must be followed by a parameter's name, as in $filters"
        invalid.append(InvalidValue(path, "expression", text, message))
        return Broken()
    try:
        expression = Expression(text)
    except ExpressionError as error:
        invalid.append(InvalidValue(path, "expression", text, str(error)))
        return Broken()
    bare = [name for name in expression.names if name not in referred]
    for name in bare:
        message = f"{show(text)}: write ${name} to refer to a parameter, or quote a text"
        invalid.append(InvalidValue(path, "expression", text, message))
    return Broken() if bare else Formula(text, expression, path)


def _compile_mapping(
    value: dict[str, Any], path: KeyPath, invalid: list[InvalidValue], model: type[Spec] | None
) -> Entries:
    fields = file_keys(model) if model else {key: key for key in value}
    entries, misspelt = {}, set()
    for key, item in value.items():
        if key not in fields:
            invalid.append(InvalidValue((*path, key), "unknown", None, unknown("key", key, list(fields))))
            misspelt.add(fields.get(closest(key, fields) or "", ""))
            continue
        inner = nested_model(model, fields[key]) if model else None
        entries[fields[key]] = compile_node(item, (*path, key), invalid, model=inner)
    required = {name for name, info in model.model_fields.items() if info.is_required()} if model else set()
    names = frozenset[str]().union(*(node.names for node in entries.values()))
    return Entries(entries, frozenset(required), names, frozenset(misspelt))


def compile_spec(value: Any, path: KeyPath, invalid: list[InvalidValue], *, model: type[Spec]) -> SpecTemplate:
    """Compile a mapping of the file that becomes a model.

    Args:
        value: The value in the file; anything but a mapping is a mistake.
        path: Path of keys to it.
        invalid: Mistakes in keys and references are added to it, but not yet those in values.
        model: The model.
    """
    if not isinstance(value, dict):
        message = f"must be a mapping with the keys {listed(file_keys(model))}, not {show(value)}"
        invalid.append(InvalidValue(path, "mapping", None, message))
        value = {}
    return SpecTemplate(model, _compile_mapping(value, path, invalid, model), path)


def values_key(names: Sequence[str], params: Mapping[str, Any]) -> str:
    """Return a text that differs for different values or types of the named parameters."""
    return repr([params.get(name, ABSENT) for name in names]) if names else ""


@dataclass(frozen=True)
class SpecTemplate:
    """A part of the file that becomes one model: a layer, or the training section.

    Attributes:
        model: The model.
        node: The compiled mapping.
        path: Path of keys to it.
    """

    model: type[Spec]
    node: Entries
    path: KeyPath
    _memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def resolve(self, params: Mapping[str, Any]) -> Any:
        """Return the model for a configuration, or ``ABSENT`` if it is left out.

        Raises:
            InvalidValuesError: The values do not make a valid model.
        """
        key = values_key(self.names, params)
        if key not in self._memo:
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            self._memo[key] = self._resolve(params)
        return self._memo[key]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters that it refers to."""
        return tuple(sorted(self.node.names))

    def canonical(self) -> dict[str, Any]:
        """Return the canonical form, in which short forms and explicit defaults make no difference.

        A value with references remains text. Other values are left out if they are the default.
        """
        if not self.node.names:
            data: dict[str, Any] = self.resolve({}).model_dump(mode="json")
            return data
        entries = {}
        for name, node in self.node.entries.items():
            if not isinstance(node, Plain):
                entries[name] = node.canonical()
                continue
            adapter, info = _field_adapter(self.model, name), self.model.model_fields[name]
            value = adapter.dump_python(adapter.validate_python(normalize(node.value), strict=True), mode="json")
            if info.is_required() or value != adapter.dump_python(info.get_default(), mode="json"):
                entries[name] = value
        return entries

    def _resolve(self, params: Mapping[str, Any]) -> Any:
        data = self.node.fill(params)
        if data is ABSENT:
            return ABSENT
        spec, invalid = validate(self.model, data)
        if invalid:
            raise InvalidValuesError([self._located(one, params) for one in invalid])
        return spec

    def static_errors(self) -> list[InvalidValue]:
        """Return the mistakes that do not depend on parameters: missing keys, and invalid values without references."""
        data = {key: node.value for key, node in self.node.entries.items() if isinstance(node, Plain)}
        data |= {k: _plain_part(n) for k, n in self.node.entries.items() if isinstance(n, Entries)}
        _, invalid = validate(self.model, data)
        return [self._located(f, {}) for f in invalid if f.kind != "missing" or not self._is_present(f.path)]

    def _is_present(self, path: KeyPath) -> bool:
        """Return whether a key is present, perhaps misspelt or with a reference."""
        owner = self._node_at(path[:-1])
        misspelt = owner.misspelt if isinstance(owner, Entries) else frozenset()
        return self._node_at(path) is not None or path[-1] in misspelt

    def _node_at(self, path: KeyPath) -> Node | None:
        node: Node | None = self.node
        model: type[Spec] | None = self.model
        for key in path:
            if isinstance(node, Entries):
                name = file_keys(model).get(str(key), str(key)) if model else str(key)
                node, model = node.entries.get(name), nested_model(model, name) if model else None
            elif isinstance(node, Items) and isinstance(key, int):
                node = node.items[key] if key < len(node.items) else None
            else:
                return node if isinstance(node, Reference | Formula) else None
        return node

    def _located(self, found: InvalidValue, params: Mapping[str, Any]) -> InvalidValue:
        node = self._node_at(found.path)
        origin, names = "", tuple[str, ...]()
        if isinstance(node, Reference):
            origin, names = node.text, (node.name,)
        elif isinstance(node, Formula):
            names = node.expression.names
            values = ", ".join(f"{name}={show(params[name])}" for name in names if name in params)
            origin = f"{show(node.text)} with {values}"
        return replace(found, path=(*self.path, *found.path), origin=origin, names=names)


@cache
def _field_adapter(model: type[Spec], name: str) -> TypeAdapter[Any]:
    """Return an adapter that reads one field alone, so that 3 and [3, 3] are the same kernel size."""
    return TypeAdapter(model.model_fields[name].rebuild_annotation())


def _plain_part(node: Entries) -> dict[str, Any]:
    plain = {key: item.value for key, item in node.entries.items() if isinstance(item, Plain)}
    return plain | {key: _plain_part(item) for key, item in node.entries.items() if isinstance(item, Entries)}
