"""Each promise of the page on security has a test; children of this program import nothing from the current folder."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import cnn_sweep
from cnn_sweep.execution.array_jobs.slurm import _python
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.training.data.benchmark_sets import download

TESTS = Path(__file__).parent
PACKAGE = Path(cnn_sweep.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "security.md"
# Words of a promise, and the tests that hold it.
PROMISES = {
    "nothing in them is ever run as Python": ["sweep/expressions", "report/test_filters.py"],
    "reads such a module without running it": ["search/test_plan.py"],
    "opens the store read-only": ["store/test_sql.py"],
    "nothing runs that the repository names": ["execution/test_git_state.py"],
    "do not import modules from the current folder": ["test_security.py"],
    "Control characters in names, values, messages": ["cli/test_control_characters.py"],
    "Values of a study are text there, too": ["report/test_live_page.py"],
    "put an apostrophe before it": ["report/test_untrusted_text.py"],
    "tables and reports have every value escaped": ["report/test_untrusted_text.py", "report/test_page.py"],
    "whose security policy allows only its own scripts": ["report/test_page.py"],
    "makes only files and folders inside the study's folder": ["execution/test_archive.py"],
    "in place of what looks secret": ["test_masking.py", "execution/test_git_state.py"],
    "A report has only the names of changed files": ["report/test_untrusted_text.py"],
    "each study can be read by their owner only": ["store/test_merging.py"],
    "without it nothing is answered": ["report/test_dashboard.py"],
}


def test_every_promise_is_on_the_page_and_has_its_tests():
    """The words of each promise are on the page, and the tests that hold it exist."""
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert [words for words in PROMISES if words not in page] == []
    assert [name for names in PROMISES.values() for name in names if not (TESTS / name).exists()] == []


def _commands():
    """Yield each list of words in the package that begins with our Python, with its place."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", [ast.unparse(word) for word in node.elts[1:]]


def test_no_child_imports_from_the_current_folder():
    """Each Python that this program starts gets -P or -I, unless it runs a script, whose own folder comes first."""
    commands = dict(_commands())
    assert len(commands) > 8
    safe = {"'-P'", "'-I'", "*safe_path", "str(image_maker())"}
    unsafe = {place: words for place, words in commands.items() if words[0] not in safe}
    assert unsafe == {}


def test_every_program_that_a_job_starts_by_its_module_is_safe():
    """Jobs begin in the folder from which they were submitted, which may be anybody's."""
    assert " -u -P -m cnn_sweep.execution.array_jobs.start" in _python(Profile())
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"python_command\(\w*(\.\w+)?\)\} -m ", text), path


@pytest.mark.parametrize("module", ["json", "keras", "numpy"])
def test_a_planted_module_is_not_imported_for_a_download(tmp_path, monkeypatch, module):
    """`json.py` in the current folder does not run when Keras is asked to download something."""
    (tmp_path / f"{module}.py").write_text("open('mark', 'w').close()\nraise SystemExit(3)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code = f"import json, importlib.util as u; assert {str(tmp_path)!r} not in u.find_spec({module!r}).origin"
    assert download(code) is None
    assert not (tmp_path / "mark").exists()


def test_nothing_is_run_by_a_shell_or_read_as_code_except_what_the_page_names():
    """No shell=True, eval, exec, pickle or unsafe YAML is in the package, except where the page on security says so."""
    pattern = re.compile(
        r"shell=True|(?<![.\w])(?:eval|exec)\(|os\.system|pickle\.loads?\(|yaml\.(?:unsafe_)?load\(|marshal"
    )
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    }
    assert {one.partition(":")[0] for one in found} <= {"sweep/file/edits.py"}, found
