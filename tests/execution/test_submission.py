"""A study and a profile when a submission is planned, refused or accepted."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from cnn_sweep.errors import CnnSweepError, EnvironmentFault
from cnn_sweep.execution.array_jobs import submission as submissions
from cnn_sweep.execution.array_jobs.slurm import PoolTask
from cnn_sweep.execution.array_jobs.submission import _after_out_of_memory
from cnn_sweep.execution.array_jobs.task import TaskSettings
from cnn_sweep.execution.attempts.retries import Retries
from cnn_sweep.execution.study import provenance
from cnn_sweep.execution.study.provenance import worker_event
from cnn_sweep.execution.study.study_folder import StudyFolder
from cnn_sweep.journal.events import End, Epoch, Start
from cnn_sweep.journal.history import History
from cnn_sweep.journal.log import JournalWriter
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.sweep.sweep import Sweep

REFUSES = 'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1'
TIMES_OUT = 'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'


def submit(cluster):
    """Submit the sweep file."""
    return cluster.type("submit", "mine.yaml", "--profile", "my.toml")


def finish(study, *, value=None):
    """Leave the journal of a worker that completed the study's only trial."""
    with JournalWriter(study.paths.journal("worker")) as journal:
        journal.append(worker_event(threads=1))
        journal.append(Start(1.0, 0, 0, "c", 0, 0, {}))
        if value is not None:
            journal.append(Epoch(1.5, 0, 0, 1, 0.1, {"val_accuracy": value}))
        journal.append(End(2.0, 0, 0, "complete", epochs=1))


def test_a_refused_submission_leaves_no_study(cluster):
    """The study that this command made for it is gone, so that the file may be changed."""
    cluster.install("sbatch", REFUSES)
    with pytest.raises(CnnSweepError, match="sbatch refused the job"):
        submit(cluster)
    assert not cluster.paths.folder.exists()


def test_a_refused_submission_leaves_a_study_that_another_process_uses(cluster):
    """A study with another process's journal is not removed, even by the process that created it."""
    theirs = cluster.paths.journal("other-1-2-3")
    cluster.install("sbatch", f"touch {theirs}; {REFUSES}")
    with pytest.raises(CnnSweepError, match="sbatch refused the job"):
        submit(cluster)
    assert theirs.exists()
    assert cluster.paths.sweep.read_text(encoding="utf-8") == cluster.sweep


def test_a_refused_submission_leaves_a_study_that_existed(cluster, monkeypatch):
    """Also one that another terminal created while this one was planning."""
    planned = submissions.plan_submission

    def meanwhile(study, *rest, **named):
        StudyFolder.open_or_create(Sweep.load("mine.yaml"), cluster.paths.results)
        return planned(study, *rest, **named)

    monkeypatch.setattr("cnn_sweep.cli.commands.submit.plan_submission", meanwhile)
    cluster.install("sbatch", REFUSES)
    with pytest.raises(CnnSweepError, match="sbatch refused the job"):
        submit(cluster)
    assert cluster.paths.sweep.read_text(encoding="utf-8") == cluster.sweep


def test_nothing_is_removed_where_nobody_knows_whether_the_job_was_taken(cluster, monkeypatch):
    """A time-out is not a refusal: the job may start and then finds its study; the message says what to do."""
    monkeypatch.setattr("cnn_sweep.execution.array_jobs.sbatch_calls._LOOK_AFTER_S", (0.0,))
    cluster.install("sbatch", TIMES_OUT)
    with pytest.raises(EnvironmentFault, match="not in the queue now, but may come"):
        submit(cluster)
    assert cluster.paths.sweep.is_file()
    assert any(cluster.paths.slurm.glob("*.pkl"))


def test_a_job_that_was_accepted_keeps_its_study_though_it_cannot_be_journaled(cluster, monkeypatch):
    """A full disk after sbatch: the study stays, and the message names the job."""

    class Full(JournalWriter):
        def append(self, event):
            if event.type == "submit":
                raise EnvironmentFault("no space")
            super().append(event)

    monkeypatch.setattr(provenance, "JournalWriter", Full)
    with pytest.raises(EnvironmentFault, match=r"job 17 is in the queue and will run.*no space; `scancel 17` ends it"):
        submit(cluster)
    assert cluster.paths.sweep.is_file()
    assert any(cluster.paths.slurm.iterdir())


def test_a_finished_study_is_not_submitted_and_that_is_no_error(cluster):
    """`submit`, `resume` and `plan` say that nothing is left to do and exit with 0, without asking Slurm."""
    finish(StudyFolder.open_or_create(Sweep.load("mine.yaml"), cluster.paths.results))
    cluster.install("scontrol", "exit 1")
    for words in (["submit", "mine.yaml"], ["resume", "mine"], ["plan", "mine.yaml"]):
        done = cluster.type(*words, "--profile", "my.toml")
        assert (done.exit_code, done.stderr) == (0, "cnn-sweep: study 'mine' is finished; nothing is left to do\n")
    assert json.loads(cluster.type("plan", "mine.yaml", "--json", "-p", "my.toml").stdout)["submission"] is None


def test_cancel_of_a_finished_study_changes_nothing(cluster):
    """It says so, and no journal has a cancellation; of an unfinished one it has."""
    study = StudyFolder.open_or_create(Sweep.load("mine.yaml"), cluster.paths.results)
    assert "resume mine` continues it" in cluster.type("cancel", "mine").stderr
    finish(study)
    before = sorted(study.paths.journals.iterdir())
    done = cluster.type("cancel", "mine")
    assert (done.exit_code, done.stderr) == (0, "study 'mine' is finished; nothing is left to do\n")
    assert sorted(study.paths.journals.iterdir()) == before
    history = History(study.paths)
    history.refresh()
    assert len(history.cancels) == 1


def test_a_plan_as_json_has_the_submission(cluster):
    """`plan --json --profile` says what would be asked for, as the table does."""
    found = json.loads(cluster.type("plan", "mine.yaml", "--json", "--profile", "my.toml").stdout)
    assert found["trials"] == 1
    assert found["submission"] == {
        "trials": 1,
        "arrays": [{"tasks": 1, "throttle": 1}],
        "workers": 1,
        "threads": 1,
        "time_limit_min": 10,
        "files": 10,
        "notes": [],
    }
    assert "array of 1 task, 1 at a time: each 1 worker of 1 thread, for 10 min at a time" in (
        cluster.type("plan", "mine.yaml", "--profile", "my.toml").stdout
    )


def test_variables_of_the_shell_and_of_a_job_around_it_change_no_job(cluster, monkeypatch):
    """The command sbatch sees none of them, its script has no key of submitit's, and a line says what was left out."""
    told = cluster.paths.results.parent
    cluster.install("sbatch", f"env >{told}/env; cat $1 >{told}/script; echo Submitted batch job 17")
    shell = {
        "SBATCH_TIMELIMIT": "1",
        "SBATCH_EXPORT": "NONE",
        "SBATCH_ACCOUNT": "bio",
        "SUBMITIT_PREEMPT_SIGNAL": "USR1",
    }
    around = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_MEM_PER_CPU": "100", "SUBMITIT_EXECUTOR": "slurm"}
    for name, value in (shell | around).items():
        monkeypatch.setenv(name, value)
    done = submit(cluster)
    seen = {line.partition("=")[0] for line in (told / "env").read_text(encoding="utf-8").splitlines()}
    assert not seen & (shell | around).keys()
    script = (told / "script").read_text(encoding="utf-8")
    assert "wckey" not in script
    assert "#SBATCH --account=bio" in script
    assert "#SBATCH --signal=USR2@90" in script
    assert "--export=ALL" in script
    taken, ignored = (line for line in done.stderr.splitlines() if "SBATCH" in line)
    assert taken == 'cnn-sweep: account = "bio" is from SBATCH_ACCOUNT'
    assert ignored.startswith("cnn-sweep: variables without effect, because the profile decides: SBATCH_EXPORT=NONE (")
    assert ignored.endswith("SBATCH_TIMELIMIT=1 (time_limit = 10)")


def test_a_limit_that_is_mostly_start_up_is_noted(cluster):
    """`plan` says how little of each job is training, and which limit is better."""
    (cluster.paths.results.parent / "my.toml").write_text("time_limit = 2\n", encoding="utf-8")
    (note,) = json.loads(cluster.type("plan", "mine.yaml", "--json", "-p", "my.toml").stdout)["submission"]["notes"]
    assert note.startswith("time_limit = 2 min leaves no time for training in each job")
    assert "With 10 min, three quarters of each job would be training" in note


def test_pools_that_fill_the_queue_take_the_trials_of_an_extension(queue):
    """`submit --extend` and `resume` with a larger search record the revision, submit nothing and say who trains."""
    text = (
        queue.sweep.replace("1}", "1, batch_size: $b}")
        + "space: {b: [8, 16, 32]}\nsearch: {method: random, trials: 1}\n"
    )
    Path("mine.yaml").write_text(text, encoding="utf-8")
    submit(queue)
    queue.install("sbatch", "exit 9")
    with pytest.raises(CnnSweepError, match=r"has 1 pool in the queue, as many as array_width allows$"):
        submit(queue)
    Path("mine.yaml").write_text(text.replace("trials: 1", "trials: 2"), encoding="utf-8")
    dry = queue.type("submit", "mine.yaml", "--profile", "my.toml", "--extend", "--dry-run")
    assert (dry.exit_code, len(queue.paths.revisions())) == (0, 1)
    done = queue.type("submit", "mine.yaml", "--profile", "my.toml", "--extend")
    assert (done.exit_code, len(queue.paths.revisions())) == (0, 2)
    assert "mine: 2 trials with the new ones; nothing to submit, since it has 1 pool in the queue" in done.stderr
    assert "`cnn-sweep resume mine --profile my.toml` submits more" in done.stderr == dry.stderr
    more = queue.type("resume", "mine", "--profile", "my.toml", "--trials", "3")
    assert (more.exit_code, len(queue.paths.revisions())) == (0, 3)
    assert "mine: 3 trials with the new ones" in more.stderr


def test_a_dependency_holds_for_each_array(cluster):
    """Where one array may not have as many tasks as the profile asks for, all of them wait for the other job."""
    text = cluster.sweep.replace("1}", "1, batch_size: $b}") + "space: {b: [8, 16, 32]}\n"
    Path("mine.yaml").write_text(text, encoding="utf-8")
    profile = 'time_limit = 10\narray_width = 3\n[sbatch]\ndependency = "afterok:123:124"\n'
    Path("my.toml").write_text(profile, encoding="utf-8")
    cluster.install("scontrol", cluster.commands["scontrol"].replace("ClusterName = lab", "MaxArraySize = 2"))
    scripts = cluster.type("submit", "mine.yaml", "--profile", "my.toml", "--dry-run").stdout
    assert scripts.count("#!/bin/bash") > 1
    assert scripts.count("#SBATCH --dependency=afterok:123:124\n") == scripts.count("#!/bin/bash")


def test_finalize_with_a_profile_is_a_job_of_one_task(cluster, monkeypatch):
    """The job runs the same command; without a profile, a model that must be trained again is said to train here."""
    text = cluster.sweep.replace("{source: digits}", "{source: digits, test: 0.2}")
    study = StudyFolder.open_or_create(Sweep.parse(text), cluster.paths.results)
    finish(study, value=0.5)
    cluster.install("sbatch", 'for word; do script=$word; done; cp "$script" script; echo 17')
    done = cluster.type("finalize", "mine", "--top", "2", "--profile", "my.toml")
    assert done.stdout == "mine 17\n"
    assert "its scores will be in results/mine/slurm/17_0_log.out" in done.stderr
    script = Path("script").read_text(encoding="utf-8")
    assert "#SBATCH --job-name=mine-finalize" in script
    assert f"-m cnn_sweep.cli.main finalize mine --top 2 --results {cluster.paths.results}" in script
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr("cnn_sweep.execution.models.client.finalize", lambda *_: sys.exit(0))
    said = cluster.type("finalize", "mine").stderr
    assert said.startswith("cnn-sweep: 1 model was not kept and must be trained again, here on ")
    cluster.install("sbatch", REFUSES)
    with pytest.raises(CnnSweepError, match="Invalid account"):
        cluster.type("finalize", "mine", "--profile", "my.toml")


def test_options_for_this_machine_are_refused_beside_a_profile(cluster):
    """They would be ignored: a pool on the cluster is what the profile says."""
    with pytest.raises(CnnSweepError, match="on a cluster, set them in the profile"):
        cluster.type("resume", "mine", "--profile", "my.toml", "--threads", "2")


@pytest.mark.parametrize(
    ("text", "starved", "changes"),
    [
        ("cpus = 4\nworkers_per_task = 4\n", 0, {}),
        ("cpus = 4\nworkers_per_task = 4\n", 2, {"workers_per_task": 2}),
        ('memory = "1G"\n[retry]\nmemory_factor = 1.5\n', 1, {"memory": 1536}),
        ('memory = "1G"\n[retry]\nmemory_factor = 1.5\nout_of_memory = 0\n', 1, {}),
        ("cpus = 4\nworkers_per_task = 4\n[retry]\nfewer_workers = false\n", 1, {}),
    ],
)
def test_after_deaths_for_memory_each_worker_gets_more(text, starved, changes):
    """As the profile allows: more memory, or half as many workers, or neither."""
    found, words = _after_out_of_memory(Profile.parse(text), starved)
    assert found == changes
    assert all(f"{name} = {value}" in words for name, value in changes.items())


def test_a_job_that_is_not_requeued_ends_well(caplog):
    """Slurm would mail that it failed; a time limit with `requeue = false` is an ordinary end."""
    settings = TaskSettings(Path("results"), "mine", "", {}, 1, 1, None, 60.0, 0.0, requeue=False, retries=Retries())
    with caplog.at_level(logging.INFO), pytest.raises(SystemExit) as ended:
        PoolTask(settings).checkpoint()
    assert ended.value.code == 0
    assert caplog.messages == ["every checkpoint is written; ending"]


def test_jobs_that_are_queued_find_their_classes():
    """A queued job is a pickle, which names its classes by module: after an update they are still there."""
    found = {f"{kind.__module__}.{kind.__qualname__}" for kind in (PoolTask, TaskSettings, Retries)}
    assert found == {
        "cnn_sweep.execution.array_jobs.slurm.PoolTask",
        "cnn_sweep.execution.array_jobs.task.TaskSettings",
        "cnn_sweep.execution.attempts.retries.Retries",
    }
