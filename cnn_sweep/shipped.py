"""Files that come with the program for users to copy: example sweeps, their images, profiles, and functions for R.

A wheel carries them inside the package (``setup.py`` copies them); in a checkout they are the folders ``sweeps``,
``slurm``, ``examples`` and ``r`` beside it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from cnn_sweep.errors import EnvironmentFault, InputError
from cnn_sweep.messages import unknown

_PACKAGE = Path(__file__).parent
# What an example in a checkout says about its images; in a copy they are in `images`, beside the sweep file.
_IMAGES_OF_CHECKOUT: Final = "../examples/images/"
_IMAGES_OF_COPY: Final = "images/"
_SCHEMAS_OF_CHECKOUT: Final = "../cnn_sweep/schemas"  # in the first line, which names the schema to editors
_MAKE_IN_CHECKOUT: Final = "python examples/make_images.py examples/images"


def _folder(name: str) -> Path:
    inside = _PACKAGE / "shipped_files" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def example_sweeps() -> dict[str, Path]:
    """Return the sweep file of each example by its name, sorted."""
    return {file.stem: file for file in sorted(_folder("sweeps").glob("*.yaml"))}


def example_profiles() -> dict[str, Path]:
    """Return the file of each example profile by its name, such as ``cpu``, sorted."""
    return {file.stem: file for file in sorted(_folder("slurm").glob("*.toml"))}


def image_maker() -> Path:
    """Return the script that writes stand-ins for the images of the example sweeps."""
    return _folder("examples") / "make_images.py"


def r_functions() -> Path:
    """Return the functions for R, a file to ``source()``."""
    return _folder("r") / "cnn_sweep.R"


def schemas() -> dict[str, Path]:
    """Return the JSON Schema of each kind of file that users write: ``sweep`` and ``profile``."""
    return {kind: _PACKAGE / "schemas" / f"{kind}.schema.json" for kind in ("sweep", "profile")}


def describe_example(name: str) -> str:
    """Return the first sentence of the comment at the top of an example sweep."""
    comment = []
    for line in _text(name).splitlines():
        if not line.startswith("#"):
            break
        if "yaml-language-server" not in line:  # the line by which editors find the schema
            comment.append(line.removeprefix("#").strip())
    return re.split(r"(?<=\.)\s", " ".join(comment).strip(), maxsplit=1)[0].removesuffix(".")


def copy_example(name: str, file: Path) -> None:
    """Write an example sweep to a file, with the paths of its images relative to that file.

    A file that has this content already is left alone.

    Raises:
        InputError: There is no such example, the file exists with other content, or its folder does not exist.
        EnvironmentFault: The file cannot be written.
    """
    text = _copied_text(name, file.name)
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file}: the folder {file.parent} does not exist")
    if file.is_dir():
        raise InputError(f"{file} is a folder; name the file to write, such as {file / f'{name}.yaml'}")
    try:
        if os.path.lexists(file):
            if file.is_file() and file.read_bytes() == text.encode():
                return
            raise InputError(f"{file} exists already and is not replaced; give another name with --output FILE")
        _write(file, text)
    except OSError as error:
        raise EnvironmentFault(f"cannot write {file}: {error.strerror or error}") from error


def images_of_example(name: str) -> tuple[str, ...]:
    """Return the folders of images that an example reads, as ``make_images.py`` names them."""
    return tuple(sorted(set(re.findall(rf"{re.escape(_IMAGES_OF_CHECKOUT)}(\w+)", _text(name)))))


def make_images(name: str, folder: Path) -> tuple[list[Path], list[Path]]:
    """Write stand-ins for the images of an example into ``images`` inside a folder.

    Returns:
        The folders that were made, and those that existed already and were left alone.

    Raises:
        EnvironmentFault: The images cannot be written.
    """
    home = folder / _IMAGES_OF_COPY
    wanted = [home / images for images in images_of_example(name)]
    kept = [path for path in wanted if os.path.lexists(path)]
    made = [path for path in wanted if path not in kept]
    try:
        for path in made:
            _make(path)
    except OSError as error:
        raise EnvironmentFault(f"cannot write images into {home}: {error.strerror or error}") from error
    return made, kept


def _text(name: str) -> str:
    examples = example_sweeps()
    if name not in examples:
        raise InputError(f"{unknown('example', name, tuple(examples))}; `cnn-sweep init --list` describes them")
    return examples[name].read_text(encoding="utf-8")


def _copied_text(name: str, file_name: str) -> str:
    """Return the text of an example as it is right beside its images and without the rest of the checkout."""
    again = f"cnn-sweep init --example {name}" + ("" if file_name == f"{name}.yaml" else f" --output {file_name}")
    text = _text(name).replace(_MAKE_IN_CHECKOUT, again).replace(_IMAGES_OF_CHECKOUT, _IMAGES_OF_COPY)
    text = text.replace(f"{_SCHEMAS_OF_CHECKOUT}/", f"{schemas()['sweep'].parent}/")
    return text.replace(f"sweeps/{name}.yaml", file_name)


def _write(file: Path, text: str) -> None:
    """Write a file as a whole or not at all."""
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.rename(file)
    finally:
        aside.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """Make one folder of images as a whole or not at all."""
    folder.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making_") as aside:
        command = [sys.executable, str(image_maker()), aside, "--only", folder.name]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            reason = done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}"
            raise EnvironmentFault(f"{image_maker().name} could not make the images of {folder}: {reason}")
        Path(aside, folder.name).rename(folder)
