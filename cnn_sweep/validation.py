"""Base of the pydantic models of users' files, and validation whose messages use the keys in the file."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from cnn_sweep.errors import InputError
from cnn_sweep.messages import listed, near, number_hint, plural, point_hint, show, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic_core import ErrorDetails

    from cnn_sweep.messages import KeyPath


class Spec(BaseModel):
    """Base of the models of users' files: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Keys in the file of fields whose names differ from them.
    FILE_KEYS: ClassVar[Mapping[str, str]] = {}
    # Field that a value in place of the mapping sets, as in `dropout: 0.5` or `optimizer: adam`.
    SHORT: ClassVar[str | None] = None


def added_later(default: Any) -> Any:
    """Declare a field that earlier versions did not have.

    Its default is left out of canonical forms. Therefore a file without the field has the same digest in every version,
    and its study continues from the checkpoints of an earlier version.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


def path_in(folder: Path, name: str) -> Path:
    """Return where a path leads that a user wrote: relative ones start at a folder, and ``~`` is a home folder.

    Raises:
        InputError: There can be no such file: its user is unknown, or its name is too long or has a NUL character.
    """
    try:
        path = folder / Path(name).expanduser()
        path.lstat()
    except RuntimeError as error:
        user = show(Path(name).parts[0])
        raise InputError(f"{show(name)}: {user} is nobody's home folder here; write the whole path") from error
    except UnicodeEncodeError:
        raise  # the program says which setting of the locale is missing
    except ValueError as error:
        raise InputError(f"{show(name)} cannot be a file's name: {error}") from error
    except OSError as error:
        if error.errno in {errno.ENAMETOOLONG, errno.ELOOP}:
            raise InputError(f"{show(name)}: {error.strerror}") from error
    return path


Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0.0, lt=1.0)]
Factor = Annotated[float, Field(ge=0.0)]


def _pair(value: Any) -> Any:
    """Read an ``n`` of the file as ``(n, n)``."""
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Pair = Annotated[tuple[Count, Count], BeforeValidator(_pair, json_schema_input_type=Count | tuple[Count, Count])]
LARGEST = 2**63 - 1  # largest whole number that databases and arrays can hold
_TRUTH_WORDS: Final = frozenset({"yes", "no", "on", "off", "true", "false"})


def is_truth_word(value: Any) -> bool:
    """Return whether a value is text that some versions of YAML read as true or false."""
    return isinstance(value, str) and value.lower() in _TRUTH_WORDS


S = TypeVar("S", bound=Spec)
# Tags of union members that are mappings with the user's own keys; pydantic's locations contain them.
_MEMBERS = {"groups"}


@dataclass(frozen=True)
class InvalidValue:
    """One thing that is wrong with a value.

    Attributes:
        path: Keys in the file from the checked data to the value.
        kind: Type of the mistake, by which it is reported once for all values; ``missing`` if a key is absent.
        value: The value.
        message: What is wrong, with the value and the valid choices.
        origin: The expression in the file that gave the value, if it refers to parameters.
        names: The parameters in ``origin``.
    """

    path: KeyPath
    kind: str
    value: Any
    message: str
    origin: str = ""
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.message} (from {self.origin})" if self.origin else self.message


def file_key(model: type[Spec], field: str) -> str:
    """Return the key of a field in the file."""
    return model.FILE_KEYS.get(field, field)


def long_form(value: Any, model: type[Spec]) -> Any:
    """Return the mapping for a value that stands for one in the file; a mapping, and any other value, as it is."""
    if model.SHORT is None or isinstance(value, dict):
        return value
    return {file_key(model, model.SHORT): value}


def file_keys(model: type[Spec]) -> dict[str, str]:
    """Return the keys that a file can have for a model, each with the name of its field."""
    fields = model.model_fields.items()
    # A layer's `kind` is the name before the colon, never a key.
    return {
        file_key(model, name): name for name, info in fields if len(get_args(info.annotation)) != 1 or name != "kind"
    }


def nested_model(model: type[Spec], field: str) -> type[Spec] | None:
    """Return the model of a field, or None for a plain value."""
    if field not in model.model_fields:
        return None
    return next(_specs(model.model_fields[field].annotation), None)


def _specs(annotation: Any) -> Iterator[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        yield annotation
    for part in get_args(annotation):
        yield from _specs(part)


def normalize(value: Any) -> Any:
    """Convert file data to the types that strict models accept: tuples for lists, 8 for 8.0."""
    if isinstance(value, dict):
        return {key: normalize(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(normalize(item) for item in value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def validate(model: type[S], data: Any) -> tuple[S | None, list[InvalidValue]]:
    """Return data, keyed by field names, as a model; or None and all of its mistakes."""
    try:
        return model.model_validate(normalize(data), strict=True), []
    except ValidationError as error:
        return None, [_invalid_value(model, details) for details in error.errors(include_url=False)]


def _invalid_value(model: type[Spec], error: ErrorDetails) -> InvalidValue:
    path, owner = _file_path(model, error["loc"], unknown_last=error["type"] == "extra_forbidden")
    kind, value = error["type"], error["input"]
    last = error["loc"][-1] if error["loc"] else ""
    if kind == "missing" and isinstance(last, str):
        key = file_key(owner, last)
        return InvalidValue((*path[:-1], key), "missing", None, f"the key {key!r} is missing")
    if kind == "extra_forbidden":
        return InvalidValue(path, f"unknown {last}", None, unknown("key", last, list(file_keys(owner))))
    if (pair := _pair_problem(model, error, path)) is not None:
        return pair
    if kind == "model_type":
        keys = list(file_keys(_model_at(model, error["loc"])))
        return InvalidValue(path, kind, value, f"must be a mapping with the keys {listed(keys)}, not {show(value)}")
    return InvalidValue(path, kind, value, in_words(error))


def in_words(error: ErrorDetails) -> str:
    """Return what is wrong with a value in our words, with the value, from pydantic's details of a mistake."""
    kind, value = error["type"], error["input"]
    return _MESSAGES[kind](value, error.get("ctx", {})) if kind in _MESSAGES else f"{show(value)} is not valid"


def _model_at(model: type[Spec], location: tuple[int | str, ...]) -> type[Spec]:
    """Return the model at one of pydantic's locations, or the last model on the way there."""
    for position, key in enumerate(location):
        if isinstance(key, str) and nested_model(model, key):
            model = _member_model(model, key, location[position + 1 :])
    return model


def _file_path(model: type[Spec], location: tuple[int | str, ...], *, unknown_last: bool) -> tuple[KeyPath, type[Spec]]:
    """Return the path in the file for one of pydantic's locations, and the model with its last key.

    Pydantic's locations contain field names instead of keys, and the tags of union members, which the file does
    not have. Keys of a mapping are the user's own.
    """
    path: list[str | int] = []
    own_names = False
    for position, key in enumerate(location):
        last = position == len(location) - 1
        if isinstance(key, int) or (last and unknown_last):
            path.append(key)
        elif own_names and key not in _MEMBERS:
            path.append(key)
            own_names = False
        elif key in model.model_fields:
            path.append(file_key(model, key))
            own_names = _has_mapping(model.model_fields[key].annotation)
            if not last:
                model = _member_model(model, key, location[position + 1 :])
    return tuple(path), model


def _has_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(_has_mapping(part) for part in get_args(annotation))


def _has_pair(annotation: Any) -> bool:
    parts = get_args(annotation)
    return (get_origin(annotation) is tuple and Ellipsis not in parts) or any(map(_has_pair, parts))


def _member_model(model: type[Spec], field: str, rest: tuple[int | str, ...]) -> type[Spec]:
    """Return the model of a field; for a union, the member with one of the remaining keys."""
    models = list(_specs(model.model_fields[field].annotation)) or [model]
    return next((one for one in models if any(key in one.model_fields for key in rest)), models[0])


def _pair_problem(model: type[Spec], error: ErrorDetails, path: KeyPath) -> InvalidValue | None:
    """Return what is wrong with a value that must be two numbers; None if it need not be, or another thing is."""
    names = [key for key in error["loc"] if isinstance(key, str)]
    info = _model_at(model, error["loc"]).model_fields.get(names[-1]) if names else None
    if info is not None and _has_pair(info.annotation) and error["type"] in ("missing", "too_long", "tuple_type"):
        value = error["input"]
        where = path[:-1] if path and isinstance(path[-1], int) else path
        message = f"must be a whole number or a list of two, such as 3 or [3, 3], not {show(value)}"
        return InvalidValue(where, "pair", value, message)
    return None


def _bound(words: str, key: str) -> Callable[[Any, dict[str, Any]], str]:
    return lambda value, context: f"must be {words} {context[key]:,.10g}, not {show(value)}"


def _literal(value: Any, context: dict[str, Any]) -> str:
    expected = str(context["expected"])
    choices = re.findall(r"'([^']*)'", expected) or [expected]
    return f"{show(value)} is not valid{near(value, choices)}; valid: {listed(choices)}"


def _type(words: str) -> Callable[[Any, dict[str, Any]], str]:
    return lambda value, _context: f"must be {words}, not {show(value)}{point_hint(value)}"


def _number(words: str) -> Callable[[Any, dict[str, Any]], str]:
    return lambda value, _context: f"must be {words}, not {show(value)}{number_hint(value)}"


def _items(words: str, key: str) -> Callable[[Any, dict[str, Any]], str]:
    return lambda value, context: f"needs {words} {plural(context[key], 'item')}, not {show(value)}"


def _truth(value: Any, _context: dict[str, Any]) -> str:
    hint = "; without quotes, since yes, no, on and off are text" if is_truth_word(value) else ""
    return f"must be true or false, not {show(value)}{hint}"


_MESSAGES: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "literal_error": _literal,
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "int_type": _number("a whole number"),
    "int_parsing": _number("a whole number"),
    "float_parsing": _number("a number"),
    "tuple_type": _type("a list"),
    "list_type": _type("a list"),
    "too_short": _items("at least", "min_length"),
    "too_long": _items("at most", "max_length"),
    "string_too_short": lambda value, _context: f"must not be empty, but is {show(value)}",
    "finite_number": _number("a finite number"),
    "int_from_float": _type("a whole number"),
    "float_type": _number("a number"),
    "bool_type": _truth,
    "string_type": _type("text"),
    "dict_type": _type("a mapping"),
    "value_error": lambda _value, context: str(context["error"]),
}
