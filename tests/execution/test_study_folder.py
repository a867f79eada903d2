from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnn_sweep.errors import InputError, StudyError
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.sweep.sweep import Sweep

TEXT = """
study: frozen
data: {source: digits}
model:
  layers:
    - conv2d: {filters: $filters, kernel_size: 3}
    - flatten
    - output: softmax
space:
  filters: [2, 4]
search: {method: grid, repeats: 2, seed: 5}
training: {epochs: 1}
"""

OWN = """
study: own
data: {source: digits}
objective: {function: "own:train", metric: score}
"""


def _sweep(text=TEXT):
    return Sweep.parse(text, source="sweep.yaml")


def test_a_frozen_study_can_be_opened_by_name(tmp_path):
    """The frozen study and the opened one plan the same trials."""
    frozen = StudyFolder.open_or_create(_sweep(), tmp_path)
    assert StudyFolder.open(tmp_path, "frozen").plan == frozen.plan
    assert [(trial.number, trial.repeat, trial.seed) for trial in frozen.plan.trials] == [
        (0, 0, 5),
        (1, 0, 5),
        (2, 1, 6),
        (3, 1, 6),
    ]


def test_the_frozen_file_is_what_the_user_wrote(tmp_path):
    """The frozen copy is the file itself, to the byte, and provenance says where it came from."""
    frozen = StudyFolder.open_or_create(_sweep(), tmp_path)
    assert frozen.paths.sweep.read_text(encoding="utf-8") == TEXT
    provenance = json.loads(frozen.paths.provenance.read_text(encoding="utf-8"))
    assert provenance["seeds"] == [5, 6]
    assert "tensorflow" in provenance["versions"]


def test_a_study_opens_without_its_provenance(tmp_path):
    """Where provenance.json is lost or damaged, relative paths start in the study's folder; nothing else is lost."""
    study = StudyFolder.open_or_create(_sweep(), tmp_path)
    study.paths.provenance.write_text("{", encoding="utf-8")
    assert StudyFolder.open(tmp_path, "frozen").plan == study.plan
    study.paths.provenance.unlink()
    assert StudyFolder.open(tmp_path, "frozen").sweep.folder == study.paths.folder


def test_comments_and_spacing_do_not_change_a_study(tmp_path):
    """A sweep that means the same goes on with the same study."""
    StudyFolder.open_or_create(_sweep(), tmp_path)
    StudyFolder.open_or_create(
        _sweep("# a comment\n" + TEXT.replace("filters: [2, 4]", "filters: [ 2,  4 ]  # as before")), tmp_path
    )
    assert len(StudyFolder.open(tmp_path, "frozen").revisions) == 1


def test_another_sweep_under_the_same_name_is_refused_with_a_diff(tmp_path):
    """The refusal shows the differences and the remedies, and nothing is changed."""
    StudyFolder.open_or_create(_sweep(), tmp_path)
    with pytest.raises(StudyError) as refusal:
        StudyFolder.open_or_create(_sweep(TEXT.replace("epochs: 1", "epochs: 2")), tmp_path)
    message = str(refusal.value)
    assert "-training: {epochs: 1}" in message
    assert "+training: {epochs: 2}" in message
    assert "another `study:` name" in message
    assert "`--extend` with" not in message
    assert StudyFolder.open(tmp_path, "frozen").sweep.digest == _sweep().digest


def test_new_choices_need_extend_and_keep_the_numbers(tmp_path):
    """An extension is refused without ``--extend``; with it, old trials keep their numbers."""
    before = StudyFolder.open_or_create(_sweep(), tmp_path).plan.trials
    wider = _sweep(TEXT.replace("[2, 4]", "[2, 3, 4]"))
    with pytest.raises(StudyError, match="`--extend` with `run` or `submit`"):
        StudyFolder.open_or_create(wider, tmp_path)
    after = StudyFolder.open_or_create(wider, tmp_path, extend=True).plan.trials
    assert after[: len(before)] == before
    assert [trial.params for trial in after[len(before) :]] == [{"filters": 3}, {"filters": 3}]
    assert StudyFolder.open(tmp_path, "frozen").plan.trials == after


def test_a_smaller_budget_is_refused_without_a_diff(tmp_path):
    """Nobody edited a file, so the refusal names the limit alone."""
    study = StudyFolder.open_or_create(_sweep(), tmp_path)
    with pytest.raises(StudyError) as refusal:
        study.extend_search({"trials": 1})
    reason = "search.trials: all became 1, which is less"
    assert str(refusal.value) == f"study 'frozen' cannot continue with trials: 1: {reason}"
    assert len(StudyFolder.open(tmp_path, "frozen").revisions) == 1


def test_a_study_that_is_not_there_lists_those_that_are(tmp_path):
    """An unknown study's message names the studies that there are."""
    StudyFolder.open_or_create(_sweep(), tmp_path)
    with pytest.raises(StudyError, match=r"no study 'frosen' in .*; studies there: frozen"):
        StudyFolder.open(tmp_path, "frosen")


def _of_a_function(folder, text="def train(context): ...\n"):
    """A sweep of a folder with a module for it."""
    folder.mkdir()
    (folder / "own.py").write_text(text, encoding="utf-8")
    return Sweep.parse(OWN, source="sweep.yaml", folder=folder)


def test_a_first_run_that_is_refused_leaves_nothing(tmp_path):
    """What is refused while the study is made leaves no folder of it: a later run elsewhere has its own provenance."""
    results = tmp_path / "results"
    with pytest.raises(InputError, match="put the sweep file into a folder with only the code"):
        StudyFolder.open_or_create(_of_a_function(tmp_path / "large", "def train(): ...\n" + "#" * 10_000_001), results)
    assert list(results.iterdir()) == []
    study = StudyFolder.open_or_create(_of_a_function(tmp_path / "small"), results)
    assert json.loads(study.paths.provenance.read_text(encoding="utf-8"))["folder"] == str(tmp_path / "small")
    assert [path.name for path in results.iterdir()] == ["own"]


def test_of_two_commands_that_create_a_study_one_does(tmp_path):
    """Both go on with the same study, from the folder of the first, and only that one may remove it."""
    sweeps = [_of_a_function(tmp_path / name) for name in ("a", "b", "c", "d")]
    with ThreadPoolExecutor(4) as commands:
        made = list(commands.map(lambda sweep: StudyFolder.open_or_create(sweep, tmp_path / "results"), sweeps))
    (creator,) = [sweep for sweep, study in zip(sweeps, made, strict=True) if study.created]
    assert json.loads(made[0].paths.provenance.read_text(encoding="utf-8"))["folder"] == str(creator.folder)
    assert {study.sweep.folder for study in made} == {creator.folder}


def test_a_folder_that_is_no_study_is_left_alone(tmp_path):
    """Somebody's files under the study's name are named, not mixed with a study."""
    (tmp_path / "frozen").mkdir()
    (tmp_path / "frozen" / "thesis.tex").touch()
    with pytest.raises(StudyError, match=r"frozen exists and is not a study, since it has no journals"):
        StudyFolder.open_or_create(_sweep(), tmp_path)
    assert [path.name for path in (tmp_path / "frozen").iterdir()] == ["thesis.tex"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    study = StudyFolder.open_or_create(_sweep(TEXT.replace("study: frozen", "study: linked")), tmp_path)
    assert (tmp_path / "elsewhere" / "sweep.yaml").is_file()
    assert study.created


def test_a_study_that_came_to_nothing_is_removed_unless_another_process_used_it(tmp_path):
    """A journal of somebody else keeps it; one's own does not."""
    study = StudyFolder.open_or_create(_sweep(), tmp_path)
    theirs = study.paths.journal("other-1-2-3")
    theirs.touch()
    study.discard()
    assert StudyFolder.open(tmp_path, "frozen").plan == study.plan
    theirs.unlink()
    study.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_refused_whose_name_differs_in_case_only(tmp_path):
    """File systems and the store's views may not tell such names apart; nothing is written."""
    StudyFolder.open_or_create(Sweep.parse(TEXT), tmp_path)
    name = Sweep.parse(TEXT).study
    other = TEXT.replace(f"study: {name}", f"study: {name.upper()}")
    with pytest.raises(StudyError, match=f"'{name.upper()}' differs from the study '{name}' in case only"):
        StudyFolder.open_or_create(Sweep.parse(other), tmp_path)
    assert not (tmp_path / name.upper()).exists()
