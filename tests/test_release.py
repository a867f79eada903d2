"""What a release holds. `make release-check` also installs it and works with it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from cnn_sweep.shipped import example_profiles, example_sweeps, r_functions

ROOT = Path(__file__).parents[1]

if not (ROOT / ".git").exists():
    pytest.skip("a release is built from the files that git tracks", allow_module_level=True)


@pytest.fixture(scope="module")
def tracked():
    """The names of all files of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    return {name for name in listed.split("\0") if name}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with the source archive, and the wheel that was built from it; both have passed their checks."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        ["bash", str(ROOT / "tests" / "against_wheel.sh"), "build", str(folder)],
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    """The names of the wheel's files, metadata excepted."""
    (file,) = dist.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_and_nothing_else(wheel, tracked):
    """Every tracked file of the package is in the wheel, and what is beside it are the files that users copy."""
    package = {name for name in tracked if name.startswith("cnn_sweep/")}
    assert {"cnn_sweep/py.typed", "cnn_sweep/report/document/style.css"} <= package
    beside = wheel - package
    assert package <= wheel
    assert all(name.startswith("cnn_sweep/shipped_files/") for name in beside), beside


def test_the_wheel_holds_the_files_that_users_copy(wheel):
    """Example sweeps, profiles, the image maker and the functions for R are where `shipped.py` looks for them."""
    files = {f"sweeps/{file.name}" for file in example_sweeps().values()}
    files |= {f"slurm/{file.name}" for file in example_profiles().values()}
    files |= {"examples/make_images.py", f"r/{r_functions().name}"}
    assert {f"cnn_sweep/shipped_files/{name}" for name in files} == {name for name in wheel if "shipped_files" in name}


def test_the_source_archive_holds_what_a_packager_needs(dist, tracked):
    """Every tracked file but those for git and for results is in it, and nothing that a run left behind."""
    (file,) = dist.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}
        folders = {name for name in names if any(other.startswith(f"{name}/") for other in names)}
    assert tracked - names == {".pre-commit-config.yaml", "results/README.md"}
    made = {"PKG-INFO", "setup.cfg", "."}
    added = {name for name in names - tracked - folders - made if not name.startswith("cnn_sweep.egg-info")}
    assert added == set()
