"""Writes a proposal as the text of a sweep file: YAML with the reason beside or above each value."""

from __future__ import annotations

import json
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cnn_sweep.errors import InputError
from cnn_sweep.first_sweep.findings import ArrayIn
from cnn_sweep.shipped import schemas
from cnn_sweep.sweep.file.schema import schema_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnn_sweep.first_sweep.proposal import Proposal

_WIDTH: Final = 110
_PLAIN = re.compile(r"(?:\$|/|(?:\.\./)+)?[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})  # in YAML 1.1, too
_ORDER: Final = (
    "source", "train", "picture", "size", "labels", "classes", "validation", "test", "seed", "unlabelled", "image_size",
    "fit", "color",
)  # fmt: skip
_PRETRAINED_WHY: Final = (
    "Few images: a network trained on millions of photographs often does better. To try it, put this in place of model "
    "and space, {also}leave out augmentation; `cnn-sweep data prepare` downloads the weights once."
)
_PRETRAINED: Final = """\
    model:
      layers:
        - base: {name: MobileNetV2, weights: imagenet, extract: true}
        - global_pool
        - dropout: $dropout
        - output: softmax
    space:
"""


def sweep_text(proposal: Proposal, *, title: str, folder: Path) -> str:
    """Return the text of a sweep file.

    Args:
        proposal: The sweep.
        title: What the images are, for the first line.
        folder: The file's folder, where relative paths start.

    Raises:
        InputError: A file's name cannot be written as UTF-8.
    """
    lines = [
        schema_line(schemas()["sweep"]),
        *_comment(f"A first sweep for {title}.", 0),
        "# Every value is a proposal of `cnn-sweep init`, with the reason beside it; change what you know better.",
    ]
    for key, value in proposal.sections.items():
        in_file = _in_file(value, folder)
        if isinstance(in_file, Mapping):
            ordered = sorted(in_file, key=lambda name: _ORDER.index(name) if name in _ORDER else 0)
            in_file = {name: in_file[name] for name in ordered} if key == "data" else in_file
        lines += ["", *_section(key, in_file, proposal.reasons)] if key != "study" else ["", f"study: {scalar(value)}"]
        if key == "space" and proposal.alternative:
            lines += _alternative(in_file, is_grey=proposal.sections["data"].get("color") == "grayscale")
    text = "\n".join(lines) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        name = ascii(error.object[max(0, error.start - 20) : error.end + 20])
        raise InputError(
            f"a file or folder has a name that is not UTF-8, near {name}; set LC_ALL=C.UTF-8, or rename it"
        ) from error
    return text


def scalar(value: Any) -> str:
    """Return a value as YAML on one line; text that could mean something else is in quotes.

    >>> scalar("no"), scalar("Füchse & Dachse"), scalar(True), scalar(0.0001), scalar([8, 16])
    ('"no"', '"Füchse & Dachse"', 'true', '1.0e-4', '[8, 16]')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {scalar(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return str(value)


def _key(name: str) -> str:
    return name if name == "y" else scalar(name)  # the labels' key, which the documentation writes without quotes


def _number(value: float) -> str:
    """Return a real number with a point, as YAML 1.1 readers also need it: 1.0e-4."""
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text if abs(value) >= 1e-3 or not value else f"{value * 10**4:g}e-4".replace("e-4", ".0e-4", 1)
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}e{int(exponent)}"


def _in_file(value: Any, folder: Path) -> Any:
    """Return a value with paths as text, relative to the file's folder."""
    if isinstance(value, Path):
        return _path(value, folder)
    if isinstance(value, ArrayIn):
        return _path(value.path, folder) + (f":{value.name}" if value.name else "")
    if isinstance(value, Mapping):
        return {key: _in_file(item, folder) for key, item in value.items()}
    return value


def _path(path: Path, folder: Path) -> str:
    """Return a path as the file has it: relative if the user typed it so, or if it is inside the file's folder."""
    # Links in the path stay as they are; the system resolves those in the folder before it follows "..".
    absolute, base = Path(os.path.abspath(path)), folder.resolve()  # noqa: PTH100
    if not path.is_absolute() or absolute.is_relative_to(base):
        return Path(os.path.relpath(absolute, base)).as_posix()
    return absolute.as_posix()


def _section(key: str, value: Any, reasons: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a top-level section; the reason for all of it is above."""
    if reason := reasons.get(key):
        yield from _comment(f"{reason[0].upper()}{reason[1:]}.", 0)
    if key in ("search", "pruner", "objective"):
        yield f"{key}: {scalar(value)}"
        return
    yield f"{key}:"
    for name, item in value.items():
        yield from _entry(name, item, 2, reasons.get(f"{key}.{name}"))


def _entry(name: str, value: Any, indent: int, reason: str | None = None) -> Iterator[str]:
    """Yield a key and its value, on one line if that fits; the reason beside it, or above."""
    start = " " * indent
    line = f"{start}{scalar(name)}: {scalar(value)}"
    is_layers = name == "layers" and isinstance(value, list)
    fits = len(line) <= _WIDTH and not is_layers
    if reason and fits and len(line) + len(reason) + 5 <= _WIDTH:
        yield f"{line}  # {reason}"
        return
    if reason:
        yield from _comment(reason, indent)
    if fits or not isinstance(value, list | Mapping):
        yield line
        return
    yield f"{start}{scalar(name)}:"
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(key, item, indent + 2)
    elif is_layers:
        yield from _layers(value, indent + 2)
    else:
        yield from (f"{start}  - {scalar(item)}" for item in value)


def _layers(layers: Sequence[Any], indent: int) -> Iterator[str]:
    """Yield the lines of a list of layers, one for each but `repeat`."""
    start = " " * indent
    for layer in layers:
        if isinstance(layer, Mapping) and "repeat" in layer:
            yield f"{start}- repeat:"
            for key, item in layer["repeat"].items():
                yield from _entry(key, item, indent + 4)
        else:
            yield f"{start}- {scalar(layer)[1:-1] if isinstance(layer, Mapping) else scalar(layer)}"


def _alternative(space: Mapping[str, Any], *, is_grey: bool) -> list[str]:
    """Return the sections with a pretrained base, which takes images of three channels, as comments."""
    why = _PRETRAINED_WHY.format(also="write color: rgb and " if is_grey else "and ")
    kept = {name: value for name, value in space.items() if name not in ("blocks", "filters")}
    text = _PRETRAINED + "".join(f"      {name}: {scalar(value)}\n" for name, value in kept.items())
    return [*_comment(why, 0), *(f"# {line}".rstrip() for line in text.splitlines())]


def _comment(text: str, indent: int) -> list[str]:
    start = f"{' ' * indent}# "
    flat = " ".join(text.split())
    return textwrap.wrap(
        flat, _WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )
