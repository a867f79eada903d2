"""What `mkdocs.yml` cannot say: links to files outside `docs/`, and pages that are written from the code.

A page that contains a mark such as ``<!-- generated: commands -->`` gets the text in place of it (``_WRITERS``), so the
site can never differ from the program.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

import cnn_sweep
from cnn_sweep.cli.main import COMMANDS, load_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "slurm/dev-cluster/README.md")
_COPIES = ("sweeps/*.yaml", "slurm/*.toml", "slurm/*.def", "docs/how-to/*.ipynb", "r/*.R", "LICENSE")
_LINK = re.compile(r"(?<=\]\()([^)\s:#]+)(?=[)#])")
_MARK = re.compile(r"<!-- generated: (\w+) -->")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the project's files that pages link to."""
    for path in _borrowed():
        if path.is_relative_to(DOCS):
            continue
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Write the generated parts of a page, and make its links those of the site."""
    text = _MARK.sub(lambda mark: _WRITERS[mark[1]](), markdown)
    borrowed = page.file.generated_by is not None
    here = (ROOT if borrowed else DOCS) / page.file.src_uri
    site = _site_uri(here)
    return _LINK.sub(lambda link: os.path.relpath(_site_uri(here.parent / link[1]), Path(site).parent), text)


def _borrowed() -> list[Path]:
    """Return the files outside `docs/` that are part of the site."""
    return [ROOT / name for name in _PAGES] + sorted(path for glob in _COPIES for path in ROOT.glob(glob))


def _site_uri(path: Path) -> str:
    """Return where the site has a file of the project."""
    inside = Path(os.path.normpath(path))
    return inside.relative_to(DOCS if inside.is_relative_to(DOCS) else ROOT).as_posix()


def _commands() -> str:
    """Describe every command: how it is called, what it does, its options, examples."""
    return "\n\n".join(text for name in COMMANDS for text in _command(f"cnn-sweep {name}", load_command(name)))


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}"
    if hasattr(command, "commands"):
        yield _plain(command.help)
        for inner, each in command.commands.items():
            yield from (part.replace("## ", "### ", 1) for part in _command(f"{name} {inner}", each))
        return
    arguments = [part for part in command.params if part.param_type_name == "argument"]
    usage = " ".join([name, *(_usage(part) for part in arguments), "[OPTIONS]"])
    yield f"```text\n{usage}\n```"
    yield _plain(command.help)
    rows = [_row(part) for part in command.params if not getattr(part, "hidden", False)]
    if rows:
        yield "\n".join(["| argument or option | meaning | default |", "|---|---|---|", *rows])
    if command.epilog:
        examples = inspect.cleandoc(command.epilog.partition("\n")[2])
        yield f"```sh\n{inspect.cleandoc(examples)}\n```"


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    name = f"{name}..." if argument.nargs == -1 and not name.endswith("...") else name
    return name if argument.required or name.startswith("[") else f"[{name}]"


def _row(part: Any) -> str:
    names = [*part.opts, *part.secondary_opts] if part.param_type_name == "option" else [_usage(part)]
    default = part.default() if callable(part.default) else part.default
    shown = "" if default in (None, False, ()) or part.required else f"`{default}`"
    cells = (", ".join(f"`{name}`" for name in names), _plain(part.help or ""), shown)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(text: str | None) -> str:
    """Return a help text as Markdown: what looks like HTML is shown as typed."""
    return (text or "").replace("<", "&lt;").replace("*", "\\*").strip()


def _python() -> str:
    """Describe the names that `import cnn_sweep` gives."""
    return "\n\n".join(part for name in cnn_sweep.__all__ for part in _name(name, getattr(cnn_sweep, name)))


def _name(name: str, thing: Any) -> Iterator[str]:
    yield f"## {name}"
    if not inspect.isclass(thing):
        yield from _documented(name, thing)
        return
    yield _docstring(thing)
    for member, value in vars(thing).items():
        call = getattr(thing, member) if isinstance(value, classmethod | staticmethod) else value
        if member.startswith("_") or not inspect.getdoc(value):
            continue
        if isinstance(value, property):
            yield f"### {name}.{member}"
            yield _docstring(value)
        elif inspect.isroutine(call):
            yield f"### {name}.{member}"
            yield from _documented(f"{name}.{member}", call)


def _documented(name: str, call: Any) -> Iterator[str]:
    if callable(call):
        signature = str(inspect.signature(call)).replace("(self, ", "(").replace("(self)", "()")
        yield f"```text\n{name}{signature}\n```"
    yield _docstring(call)


def _docstring(thing: Any) -> str:
    """Return a docstring in Google's style as Markdown."""
    text = re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", inspect.getdoc(thing) or "").replace("``", "`")
    shown = []
    for block in text.split("\n\n"):
        heading, _, rest = block.partition("\n")
        if heading in ("Args:", "Attributes:", "Raises:"):
            items = re.split(r"\n(?=\S)", inspect.cleandoc(rest))
            shown.append(f"**{heading[:-1]}**\n\n" + "\n".join(_item(item) for item in items))
        elif heading in ("Returns:", "Yields:"):
            shown.append(f"**{heading[:-1]}** {' '.join(inspect.cleandoc(rest).split())}")
        elif heading in ("Example:", "Examples:"):
            shown.append(f"**{heading[:-1]}**\n\n" + _example(inspect.cleandoc(rest)))
        elif block.startswith(">>>"):
            shown.append(_example(block))
        else:
            shown.append(block)
    return "\n\n".join(shown)


def _item(item: str) -> str:
    name, _, meaning = " ".join(item.split()).partition(": ")
    return f"- `{name}`: {meaning}"


def _example(text: str) -> str:
    return f"```python\n{text}\n```" if text.startswith(">>>") else text


def _sweep_keys() -> str:
    """Describe every key of sweep files."""
    return _keys("sweep")


def _profile_keys() -> str:
    """Describe every key of profiles."""
    return _keys("profile")


def _keys(file: str) -> str:
    """Describe the keys of a file by its JSON Schema: a table for each section."""
    path = Path(cnn_sweep.__file__).parent / "schemas" / f"{file}.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    parts = [_section(schema)]
    for name, each in schema.get("definitions", {}).items():
        if each.get("properties") and name not in _ANY_KEY:
            parts.append(f"### {name.removesuffix('Spec')}\n\n{_plain(each.get('description'))}\n\n{_section(each)}")
    return "\n\n".join(parts)


def _section(schema: dict[str, Any]) -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, each in schema["properties"].items():
        default = "" if each.get("default") is None else f"`{json.dumps(each['default'])}`"
        name = f"**`{key}`**" if key in schema.get("required", ()) else f"`{key}`"
        meaning = _plain(each.get("description")).replace("|", "\\|")
        rows.append(f"| {name} | {_value(each) or 'see below'} | {default} | {meaning} |")
    return "\n".join(rows)


def _value(schema: dict[str, Any]) -> str:
    """Return in words which values a schema allows; a reference to a hyperparameter is allowed everywhere."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "" if name in _ANY_KEY else f"[{name.removesuffix('Spec')}](#{name.removesuffix('Spec').lower()})"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(word for each in schema["anyOf"] if (word := _value(each))))
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    kind = _KINDS.get(str(schema.get("type")), "")
    return ", ".join([kind, *bounds]) if kind else ""


# Definitions that hold for any value, or for keys of the user's own.
_ANY_KEY = ("Reference", "Hyperparameter", "Layer", "Direction", "Activate")
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
_KINDS = {
    "array": "list",
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}
_WRITERS: dict[str, Callable[[], str]] = {
    "commands": _commands,
    "python": _python,
    "sweep_keys": _sweep_keys,
    "profile_keys": _profile_keys,
}
