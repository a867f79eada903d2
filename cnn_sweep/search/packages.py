"""Packages that some methods need, which Optuna does not bring along."""

from __future__ import annotations

import importlib.util
from typing import Final

from cnn_sweep.errors import EnvironmentFault

NEEDED: Final = {"gp": "torch", "cmaes": "cmaes"}  # by the names that pip knows


def check_packages(method: str) -> None:
    """See that what a method of search needs is installed.

    Raises:
        EnvironmentFault: It is not.
    """
    package = NEEDED.get(method)
    if package is not None and importlib.util.find_spec(package) is None:
        raise EnvironmentFault(
            f"the method {method!r} needs the package {package}, which is not installed; "
            f"`pip install 'cnn-sweep[{method}]'` or `pip install {package}` brings it"
        )
