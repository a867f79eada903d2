"""Files that come with the program for users to copy: example sweeps and profiles of clusters.

A wheel carries them inside the package (``[tool.setuptools.package-dir]`` in pyproject.toml); in a checkout they are
the folders ``sweeps``, ``slurm`` and ``examples`` beside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


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
