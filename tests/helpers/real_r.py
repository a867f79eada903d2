"""A real R, in which some tests write files or read results (`make test-r`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "r" / "cnn_sweep.R"


def require_r(*packages):
    """Skip a test module without R or one of these packages; fail where ``CNN_SWEEP_REQUIRE_R`` is set."""
    if missing := _missing(packages):
        reason = f"needs {missing}: `.ci/debian-packages` installs it"
        if os.environ.get("CNN_SWEEP_REQUIRE_R"):
            pytest.fail(f"{reason}, and CNN_SWEEP_REQUIRE_R is set", pytrace=False)
        pytest.skip(reason, allow_module_level=True)


def run_r(code, folder, *, source=FUNCTIONS, **environment):
    """Run R code in a folder, after the functions for R; warnings are errors. Return what it prints."""
    script = (f'source("{source}")\n' if source else "") + code
    done = subprocess.run(
        ["Rscript", "--vanilla", "-e", "options(warn = 2)", "-e", script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        encoding="latin-1" if sys.getfilesystemencoding() == "iso8859-1" else "utf-8",  # R prints in the locale's
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def _missing(packages):
    if shutil.which("Rscript") is None:
        return "R"
    test = f"quit(status = !all(sapply(c({', '.join(map(repr, packages))}), requireNamespace, quietly = TRUE)))"
    found = not packages or subprocess.run(["Rscript", "--vanilla", "-e", test], check=False).returncode == 0
    return None if found else f"R with the packages {', '.join(packages)}"
