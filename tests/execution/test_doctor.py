"""Problems of a machine are found before a study begins, and reported with a remedy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

from cnn_sweep.cli.commands import doctor as command
from cnn_sweep.tools import doctor, tensorflow_check

STARTS = 'import json; print(json.dumps({"version": "2.21.0", "seconds": 4.0, "gpus": []}))'


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with no programs but those that a test writes, and a TensorFlow that starts at once."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(tensorflow_check, "SCRIPT", STARTS)

    def install(name, script):
        (programs / name).write_text(f"#!{sys.executable} -S\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)

    return install


def _found(results: Path, *, slurm: bool = False) -> dict[str, doctor.Finding]:
    return {finding.subject: finding for finding in doctor.examine(results, slurm=slurm)}


def test_a_machine_without_slurm_or_gpu_is_fine_for_run(machine, tmp_path):
    """Neither is an error: the report says what works without them, and the results folder stays untouched."""
    found = _found(tmp_path / "results")
    assert {finding.level for finding in found.values()} == {"ok", "note"}
    assert "`run` works here" in found["slurm"].text
    assert found["gpu"].level == "note"
    assert not (tmp_path / "results").exists()


def test_a_results_folder_that_cannot_be_is_bad(machine, tmp_path):
    """A file in its place is named, with the option that chooses another."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    found = _found(tmp_path / "file" / "results")
    assert found["results"].level == "bad"
    assert str(tmp_path / "file") in found["results"].text
    assert "--results" in found["results"].cure


def test_a_slurm_client_without_a_cluster_is_bad_for_those_alone_who_want_slurm(machine, tmp_path):
    """Slurm is installed but silent: `run` works, so that it is a note, with Slurm's message; asked for, it is bad."""
    for program in ("sbatch", "scontrol"):
        machine(program, "import sys; sys.exit('scontrol: error: Unable to contact slurm controller')")
    found = _found(tmp_path)
    assert found["slurm"].level == "note"
    assert "no cluster answers" in found["slurm"].text
    assert "`run` works here" in found["slurm"].text
    assert "Unable to contact slurm controller" in found["slurm"].text
    assert found["tensorflow"].level == "ok"
    assert _found(tmp_path, slurm=True)["slurm"].level == "bad"


def test_a_machine_without_slurm_is_bad_for_those_who_want_slurm(machine, tmp_path):
    """`doctor --slurm` fails where sbatch is missing."""
    assert _found(tmp_path, slurm=True)["slurm"].level == "bad"


@pytest.mark.parametrize(
    ("script", "words"),
    [("import os; os.abort()", "exit -6"), ("raise ImportError('libcuda is not what it was')", "libcuda is not")],
)
def test_a_tensorflow_that_does_not_start_is_bad(machine, tmp_path, monkeypatch, script, words):
    """Whether it is killed or raises, the last words are shown."""
    monkeypatch.setattr(tensorflow_check, "SCRIPT", script)
    found = _found(tmp_path)
    assert found["tensorflow"].level == "bad"
    assert words in found["tensorflow"].text


def test_gpus_that_tensorflow_cannot_use_are_bad(machine, tmp_path):
    """The driver sees a GPU and TensorFlow does not: the libraries are missing, and how to get them is said."""
    machine("nvidia-smi", "print('GPU 0: NVIDIA T4 (UUID: x)')")
    found = _found(tmp_path)
    assert found["gpu"].level == "bad"
    assert "cnn-sweep[cuda]" in found["gpu"].cure


def test_something_bad_makes_the_exit_code_3(monkeypatch, tmp_path, capsys):
    """The verb prints every finding, also as JSON, and ends as for a wrong environment."""
    found = [doctor.Finding("ok", "a", "fine"), doctor.Finding("bad", "b", "broken", "mend it")]
    monkeypatch.setattr(command, "examine", lambda _, **__: iter(found))
    with pytest.raises(typer.Exit) as end:
        command.doctor(as_json=True, results=tmp_path)
    assert end.value.exit_code == 3
    assert [finding["level"] for finding in json.loads(capsys.readouterr().out)] == ["ok", "bad"]
    with pytest.raises(typer.Exit) as end:
        command.doctor(results=tmp_path)
    assert end.value.exit_code == 3
    assert "mend it" in capsys.readouterr().out
