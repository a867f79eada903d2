"""The part of the build that pyproject.toml cannot say: a wheel carries example sweeps, profiles and other files.

In a checkout they are folders beside the package, where people look for them; in a wheel they are inside it, as
``cnn_sweep/shipped_files``. ``cnn_sweep/shipped.py`` finds them in both.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("sweeps/*.yaml", "slurm/*.toml", "examples/make_images.py", "r/*.R")


class BuildWithShippedFiles(build_py):
    """Builds the package and copies the shipped files into it."""

    def run(self) -> None:
        """Build; an editable install uses the checkout's own folders."""
        super().run()
        if not self.editable_mode:
            for source, target in self._shipped().items():
                target.parent.mkdir(parents=True, exist_ok=True)
                self.copy_file(str(source), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002 - setuptools's signature
        """Return all files of the built package."""
        return [*super().get_outputs(include_bytecode), *map(str, self._shipped().values())]

    def _shipped(self) -> dict[Path, Path]:
        home = Path(self.build_lib, "cnn_sweep", "shipped_files")
        return {file: home / file for pattern in SHIPPED for file in sorted(Path().glob(pattern))}


setup(cmdclass={"build_py": BuildWithShippedFiles})
