"""All workers of a study compute with one number of threads, whoever starts them and whatever the machine."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnn_sweep.errors import StudyError, SweepFileError
from cnn_sweep.execution.array_jobs.submission import plan_submission
from cnn_sweep.execution.models import server as model_process
from cnn_sweep.execution.pool import local
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.execution.study.threads import settle_threads, threads_of
from cnn_sweep.journal.events import Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.identity import new_writer_name
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.slurm.cluster import Cluster
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.sweep import Sweep

SWEEP = """
study: threads
data: {source: digits}
model: {layers: [flatten, output: softmax]}
space: {rate: [0.01, 0.1, 0.2, 0.3]}
training: {epochs: 1, optimizer: {learning_rate: $rate}}
"""


@pytest.fixture
def study(tmp_path):
    """A study that nobody has run yet."""
    return StudyFolder.open_or_create(Sweep.parse(SWEEP), tmp_path)


def trained(study, trial, threads):
    """Leave the journal of a worker that began a trial."""
    with JournalWriter(study.paths.journal(new_writer_name())) as journal:
        journal.append(worker_event(threads=threads))
        journal.append(Start(time.time(), trial, 0, "c", 0, 0, {"rate": 0.1}))


def test_the_first_run_fixes_the_number_and_later_ones_obey(study):
    """Another number is refused, with both numbers and a remedy; without a request, the first one applies."""
    assert settle_threads(study.paths, study.sweep, 3) == 3
    assert settle_threads(study.paths, study.sweep) == settle_threads(study.paths, study.sweep, 3) == 3
    with pytest.raises(
        StudyError, match=r"uses 3 threads, because its first run used that number; 1 cannot .*another `study:` name"
    ):
        settle_threads(study.paths, study.sweep, 1)
    assert study.paths.threads.read_text(encoding="utf-8") == "3\n"


def test_a_worker_has_one_thread_unless_somebody_says_otherwise(study, monkeypatch):
    """A machine with more cores than workers computes the same: the pool gets one thread a worker."""
    asked = []

    class Supervisor:
        is_cancelled = False

        def __init__(self, _study, settings, _size, **_):
            asked.append(settings.threads)

        def run(self, _observe):
            return None

    monkeypatch.setattr(local, "PoolSupervisor", Supervisor)
    monkeypatch.setattr("cnn_sweep.execution.machine.usable_cores", lambda: 64)
    local.run_local(study, print, workers=1)
    assert asked == [1]
    assert study.paths.threads.read_text(encoding="utf-8") == "1\n"


def test_of_runs_that_begin_at_the_same_moment_one_is_obeyed(study):
    """Sixteen pools that request four different numbers agree on one; the others get a message with it."""

    def settle(wanted):
        try:
            return settle_threads(study.paths, study.sweep, wanted)
        except StudyError:
            return None

    with ThreadPoolExecutor(16) as pools:
        found = list(pools.map(settle, [1, 2, 3, 4] * 4))
    agreed = int(study.paths.threads.read_text(encoding="utf-8"))
    assert {number for number in found if number is not None} == {agreed}
    assert found.count(agreed) == 4


def test_the_sweep_files_number_cannot_be_overruled(tmp_path):
    """It is part of what the file means, before anything has run."""
    sweep = Sweep.parse(SWEEP.replace("epochs: 1", "epochs: 1, threads: 2"))
    study = StudyFolder.open_or_create(sweep, tmp_path)
    assert threads_of(study.paths, sweep) == 2
    with pytest.raises(StudyError, match=r"uses 2 threads, because its sweep file says so.*leave out --threads"):
        threads_of(study.paths, sweep, 4)


@pytest.mark.parametrize(("used", "goes_on_with"), [([2, 2], 2), ([1, 2], 1), ([], 1)])
def test_a_study_of_an_earlier_version_goes_on_with_the_number_of_its_trials(study, used, goes_on_with):
    """It has no file that says it; its workers' journals do, if they agree. A verb that only looked does not count."""
    for trial, threads in enumerate([*used, 0]):
        trained(study, trial, threads)
    assert threads_of(study.paths, study.sweep) == goes_on_with
    assert not study.paths.threads.exists()


def test_a_number_that_cannot_be_read_is_said_with_its_file(study):
    """Without a known number, nothing is trained."""
    study.paths.threads.write_text("many\n", encoding="utf-8")
    with pytest.raises(StudyError, match=r"threads/threads: 'many' is not a number of threads"):
        threads_of(study.paths, study.sweep)


@pytest.mark.parametrize(("settled", "of_trial", "computed"), [(None, 2, 2), (3, 0, 3)])
def test_models_are_trained_again_with_the_threads_of_their_trials(study, monkeypatch, settled, of_trial, computed):
    """Otherwise the model that a trial is judged by would not be the trial's."""
    if settled:
        settle_threads(study.paths, study.sweep, settled)
    trained(study, 0, of_trial)
    history = History(study.paths)
    history.refresh()
    asked = []

    def configure(threads, **_):
        asked.append(threads)
        raise InterruptedError

    monkeypatch.setattr(model_process, "configure", configure)
    with pytest.raises(InterruptedError):
        model_process._start_trainer(StudyFolder.open(study.paths.results, "threads"), history, 0)
    assert asked == [computed]


def planned(study, profile):
    """Plan a submission to a cluster without limits."""
    history = History(study.paths)
    history.refresh()
    cluster = Cluster(name="lab", user="ann", max_array_size=1001)
    return plan_submission(study, history, Profile.parse(profile, source="my.toml"), cluster)


def test_a_submission_obeys_the_study_or_is_refused_at_the_profiles_line(study):
    """A profile that names no number takes the study's, if its CPUs suffice for that."""
    assert planned(study, "cpus = 4").settings.threads == 1
    settle_threads(study.paths, study.sweep, 2)
    assert planned(study, "cpus = 4").settings.threads == 2
    with pytest.raises(SweepFileError, match=r"my\.toml:2: threads: each worker of the study 'threads' uses 2 threads"):
        planned(study, "cpus = 4\nthreads = 4")
    with pytest.raises(
        SweepFileError, match=r"my\.toml:2: workers_per_task: 4 workers of 2 threads do not fit on 4 cpus"
    ):
        planned(study, "cpus = 4\nworkers_per_task = 4")


def test_cpus_that_no_worker_uses_are_said(study):
    """A task with more CPUs than its workers compute on says how to use the rest."""
    notes = planned(study, "cpus = 16\nworkers_per_task = 8").notes
    assert notes == ("8 of 16 CPUs of each task in use; workers_per_task = 16 trains more trials at once",)
    assert planned(study, "cpus = 16\nworkers_per_task = 16").notes == ()
