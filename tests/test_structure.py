"""The shape of the package: which layer may import which, and what a login node never loads."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnn_sweep

PACKAGE = Path(cnn_sweep.__file__).parent

_ROW = re.compile(r"^\| `([\w./]+)` \|([^|]*)\| [^|]+ \|$", re.MULTILINE)
_ARCHITECTURE = (Path(__file__).parents[1] / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
_TABLE = _ROW.findall(_ARCHITECTURE.partition("## Where things are")[2].partition("## What runs where")[0])

# Data flows from left to right; a module imports only from its own layer and those before it.
LAYERS = tuple(name.removesuffix("/").removesuffix(".py") for name, _ in _TABLE)

# The same within a layer of many parts.
PARTS = {name.removesuffix("/"): tuple(inside.replace("`", "").split()) for name, inside in _TABLE if inside.strip()}

# One home for each heavy library.
HOMES = {
    "tensorflow": ("training",),
    "keras": ("training",),
    "sqlalchemy": ("store",),
    "optuna": ("search",),
    "submitit": ("execution/array_jobs/slurm.py",),
    "PIL": ("training/data", "report"),
    "jinja2": ("report/document",),
    "fontTools": ("report/figures/letters.py",),
    "rdata": ("training/data",),
    "typer": ("cli",),
    "rich": ("cli",),
}


@functools.cache
def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _modules() -> list[Path]:
    ours = (path for path in PACKAGE.rglob("*.py") if "shipped_files" not in path.parts)  # a wheel has examples, too
    return sorted(path for path in ours if path != PACKAGE / "__init__.py")


def _layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    """A module imports only from its own layer and from those before it."""
    allowed = LAYERS[: LAYERS.index(_layer(path)) + 1]
    ours = {name.split(".")[1] for name in _imports(path) if name.startswith("cnn_sweep.")}
    assert ours <= set(allowed), f"{path} reaches forward"


@pytest.mark.parametrize("layer", PARTS)
def test_imports_within_a_layer_point_one_way(layer):
    """A part of a layer imports only from itself and from the parts before it."""
    parts = PARTS[layer]
    for path in sorted((PACKAGE / layer).rglob("*.py")):
        part = path.relative_to(PACKAGE / layer).parts[0].removesuffix(".py")
        ours = {name.split(".")[2] for name in _imports(path) if name.startswith(f"cnn_sweep.{layer}.")}
        if part == "__init__":
            assert not ours, f"{path} imports"
        else:
            assert ours <= set(parts[: parts.index(part) + 1]), f"{path} reaches forward"


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_heavy_library_has_one_home(path):
    """TensorFlow, SQLAlchemy, Optuna, submitit and the terminal libraries are imported in one place each."""
    relative = path.relative_to(PACKAGE).as_posix()
    for library, homes in HOMES.items():
        if not relative.startswith(homes):
            assert not {name for name in _imports(path) if name.split(".")[0] == library}, f"{library} in {path}"


def test_no_module_evaluates_text():
    """Nothing hands a user's text to eval or exec."""
    for path in _modules():
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not calls & {"eval", "exec"}, path


def _in_the_locales_encoding(call: ast.Call) -> bool:
    """Return whether a call reads or writes text without naming its encoding."""
    method = isinstance(call.func, ast.Attribute)
    name = getattr(call.func, "attr" if method else "id", "")
    given = {keyword.arg for keyword in call.keywords}
    modes = [
        node.value for node in call.args if isinstance(node, ast.Constant) and set(str(node.value)) <= set("rwax+t")
    ]
    text_file = name in ("open", "fdopen") and (modes or (method and not call.args))
    whole_file = method and ((name == "read_text" and not call.args) or (name == "write_text" and len(call.args) == 1))
    process = {"text", "universal_newlines"} & given and name in ("run", "Popen", "check_output")
    return "encoding" not in given and bool(text_file or whole_file or process)


def test_text_is_read_and_written_in_a_named_encoding():
    """No file and no pipe is text in the encoding of whatever locale somebody works in."""
    root = PACKAGE.parent
    for folder in ("cnn_sweep", "tests", "benchmarks", "examples"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    assert not _in_the_locales_encoding(node), f"{path}, line {node.lineno} names no encoding"


SWEEP = """
study: tiny
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3}
    - flatten
    - output: softmax
space: {filters: [2, 4]}
search: {method: grid}
training: {epochs: 1}
"""

# A login node's verbs, each as its arguments; the study exists and has not run.
VERBS = [
    ["--help"],
    ["init", "digits", "--output", "{folder}/first.yaml"],
    ["plan", "{sweep}"],
    ["plan", "{sweep}", "--json"],
    ["data", "prepare", "{sweep}"],
    ["data", "show", "{sweep}", "--output", "{folder}/sheet.png"],
    ["status"],
    ["status", "tiny", "--json"],
    ["leaderboard", "tiny"],
    ["leaderboard", "tiny", "--format", "csv"],
    ["export", "tiny", "--to", "csv", "{folder}/csv"],
    ["export", "tiny", "--to", "parquet", "{folder}/parquet"],
    ["export", "tiny", "--to", "tensorboard", "{folder}/tensorboard"],
    ["report", "tiny", "--output", "{folder}/tiny.html"],
    ["sql", "SELECT 1"],
    ["store", "merge"],
    ["store", "rebuild"],
    ["store", "check"],
]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder with a study that has not run yet, made without TensorFlow."""
    folder = tmp_path_factory.mktemp("login")
    (folder / "tiny.yaml").write_text(SWEEP, encoding="utf-8")
    code = (
        "from pathlib import Path; from cnn_sweep.sweep.sweep import Sweep;"
        "from cnn_sweep.execution.study.study_folder import StudyFolder;"
        f"sweep = Sweep.load(Path({str(folder / 'tiny.yaml')!r}));"
        f"StudyFolder.open_or_create(sweep, Path({str(folder / 'results')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


TYPE_ALL = """
import json, sys, traceback
from cnn_sweep.cli.main import app
said = []
for sys.argv[1:] in json.load(sys.stdin):
    try:
        app(standalone_mode=False)
        said.append(" ".join({"tensorflow", "keras"} & set(sys.modules)))
    except BaseException:
        said.append(traceback.format_exc())
print(json.dumps(said), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def complaints(results):
    """Of each verb, all of them typed one after another in one process, what is wrong: an error, or what is loaded."""
    words = [[word.format(sweep=results / "tiny.yaml", folder=results) for word in verb] for verb in VERBS]
    done = subprocess.run(
        [sys.executable, "-c", TYPE_ALL],
        env={"PATH": "/usr/bin:/bin", "CNN_SWEEP_RESULTS": str(results / "results")},
        input=json.dumps(words),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_login_node_verbs_load_no_tensorflow(verb, complaints):
    """A verb that does not train never imports TensorFlow or Keras; the first that fails here is the one that did."""
    assert complaints[VERBS.index(verb)] == ""


IMPORTS = {
    # Verbs that need a trained model leave TensorFlow to the process that they start.
    "cnn_sweep.cli.commands.predict, cnn_sweep.cli.commands.finalize, cnn_sweep.report.models.predictions": (
        "tensorflow",
        "keras",
    ),
    # Only a report needs templates, only image files and notebooks need Plotly.
    "cnn_sweep.cli.commands.report, cnn_sweep.study": ("jinja2", "plotly", "kaleido"),
    # `cnn-sweep --help` is quick because it loads nothing that it does not need.
    "cnn_sweep.cli.main": ("pandas", "numpy", "sqlalchemy", "optuna", "sklearn", "pydantic"),
    # Each worker and each command would pay for these, seconds in all, before its first trial.
    "cnn_sweep.execution.worker.worker": ("tensorflow", "keras", "optuna", "pandas", "sklearn", "scipy"),
    "cnn_sweep.cli.commands.run, cnn_sweep.cli.commands.submit": (
        "tensorflow",
        "keras",
        "optuna",
        "pandas",
        "sklearn",
        "scipy",
    ),
}


@pytest.mark.parametrize("modules", IMPORTS)
def test_an_import_loads_nothing_heavy(modules):
    """What a process imports before it works stays light."""
    code = f"import sys, {modules}; print(*({set(IMPORTS[modules])!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == []
