"""Functions that a sweep file names are looked for before anything starts, without running the user's code."""

from __future__ import annotations

import sys

import pytest

from cnn_sweep.errors import SweepFileError
from cnn_sweep.execution.study.user_code import check_user_code
from cnn_sweep.sweep.sweep import Sweep

BUILT = """
study: own
data: {{source: digits}}
model:
  build: "{0}"
training: {{epochs: 1}}
"""
OBJECTIVE = """
study: own
data: {{source: digits}}
objective: {{metric: score, function: "{0}"}}
"""
NETS = """
raise SystemExit("a module that must not be run")
from elsewhere import imported, other as renamed
def build(params, image_shape, classes):
    nested = 1
    return nested
async def later(): ...
assigned = typed = build
annotated: object = build
class Called: ...
if True:
    try:
        def inside(): ...
    except ImportError:
        pass
text = "\\d"
"""


@pytest.fixture
def check(tmp_path):
    """Check a sweep that names a function, beside modules of the user's; return what is wrong."""
    (tmp_path / "nets.py").write_text(NETS, encoding="utf-8")
    (tmp_path / "broken.py").write_text("\ndef build(:\n", encoding="utf-8")
    (tmp_path / "starred.py").write_text("from nets import *\n", encoding="utf-8")
    (tmp_path / "late.py").write_text("def __getattr__(name): ...\n", encoding="utf-8")
    for package, init in (("packed", True), ("loose", False)):
        (tmp_path / package).mkdir()
        (tmp_path / package / "small.py").write_text("def build(): ...\n", encoding="utf-8")
        if init:
            (tmp_path / package / "__init__.py").touch()

    def run(reference, text=BUILT):
        sweep = Sweep.parse(text.format(reference), source="my.yaml", folder=tmp_path)
        try:
            check_user_code(sweep)
        except SweepFileError as error:
            return str(error)
        return ""

    return run


@pytest.mark.parametrize(
    "reference",
    [
        *(f"nets:{name}" for name in ("build", "later", "imported", "renamed", "assigned", "typed", "annotated")),
        *("nets:Called", "nets:inside", "packed.small:build", "starred:build", "late:build"),
        *("json:loads", "os.path:join", "email.mime.nothing:installed_packages_are_not_looked_into"),
    ],
)
def test_a_function_that_may_be_there_is_not_refused(reference, check):
    """Every definition of a name counts, even in an ``if``; the module is neither run nor imported."""
    assert check(reference) == check(reference, OBJECTIVE) == ""
    assert "nets" not in sys.modules


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nets:biuld", r"nets.py has no function 'biuld' (did you mean 'build'?); it has build"),
        ("nets:nested", "has no function 'nested'"),
        ("net:build", "no module 'net' (did you mean 'nets'?): "),
        ("nets.py:build", "no module 'nets.py' (did you mean 'nets'?): "),
        ("packed.large:build", "no module 'packed.large'"),
        (
            "loose.small:build",
            "loose is not a package, so it would not be copied into the study; add an empty __init__.py",
        ),
        ("broken:build", "broken.py:2: this is not Python: "),
    ],
)
def test_a_function_that_is_not_there_is_refused_with_the_sweep_files_line(reference, words, check):
    """The message has the line that names the function, where it was looked for, and what is there."""
    told = check(reference)
    assert told.startswith("my.yaml:5: model.build: "), told
    assert words in told
    assert check(reference, OBJECTIVE).startswith("my.yaml:4: objective.function: ")


def test_of_several_objectives_the_first_ones_function_is_looked_for(check):
    """The message has its place in the list."""
    listed = OBJECTIVE.replace("objective: {{", "objectives:\n  - {{") + "  - {{metric: parameters}}\n"
    listed = listed.replace("objectives:", "search: {{method: tpe, trials: 2}}\nobjectives:")
    assert check("nets:nothing", listed).startswith("my.yaml:6: objectives[0].function: ")
