"""Studies on a real cluster, from ``submit`` to the leaderboard, and what is refused on the way."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cnn_sweep.cli.commands.submit import submit
from cnn_sweep.execution.array_jobs import submission
from cnn_sweep.journal.log import encode, from_json

DEV = Path(__file__).parents[2] / "slurm" / "dev.toml"
SWEEP = """
study: {name}
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: 2, kernel_size: 3, activation: relu}}
    - flatten
    - output: softmax
space:
  rate: {{low: 1.0e-4, high: 1.0e-1, log: true}}
search: {{method: random, trials: {trials}, seed: 3}}
training:
  epochs: {epochs}
  batch_size: 128
  optimizer: {{name: adam, learning_rate: $rate}}
"""
GRID = """
study: {name}
data: {{source: digits, validation: 0.2, test: 0.2}}
model:
  layers:
    - conv2d: {{filters: $filters, kernel_size: 3, activation: relu}}
    - dropout: $dropout
    - flatten
    - output: softmax
space:
  filters: [2, 3]
  dropout: [0.0, 0.25, 0.5]
  optimizer: [sgd, adam]
search: {{method: grid, seed: 7}}
training:
  epochs: 3
  batch_size: 32
  optimizer: {{name: $optimizer, learning_rate: 0.01}}
  checkpoint_every_s: 0.2
"""
PROFILE = 'time_limit = 10\nmemory = "1500M"\nthreads = 1\n'


def sweep(desk, name, *, trials=1, epochs=1):
    """Write a sweep of cheap trials."""
    return desk.write(f"{name}.yaml", SWEEP.format(name=name, trials=trials, epochs=epochs))


def profile(desk, text=""):
    """Write a profile; keys before those that all have."""
    return desk.write("profile.toml", PROFILE + text)


def cores_of(desk, study):
    """Return what ``efficiency`` says of the cores; None before the first job has ended."""
    rows = json.loads(desk.type("efficiency", study, "--format", "json").stdout)
    return next((row for row in rows if row["part"] == "cores"), None)


def test_the_cluster_finds_what_one_worker_finds(desk):
    """A study on four nodes has the leaderboard of ``run`` with one worker on this machine, to the last bit."""
    staged = 'stage = "/dev/shm"\n' + DEV.read_text(encoding="utf-8")  # the images are copied to another file system
    desk.submit(desk.write("four.yaml", GRID.format(name="four")), desk.write("staged.toml", staged))
    desk.type("run", desk.write("one.yaml", GRID.format(name="one")), "--workers", 1, "--threads", 1)
    desk.wait_until_complete("four", 12, 120)
    assert desk.board("four") == desk.board("one")
    assert "reading the data from this node's copy in /dev/shm/cnn-sweep-" in desk.type("logs", "four").stdout
    workers = desk.query("SELECT count(*) FROM (SELECT DISTINCT writer FROM attempts WHERE study = 'four')")
    cores = desk.cluster.until(lambda: cores_of(desk, "four"), 90, "sacct's measurements")
    assert cores["asked"] > 0.0
    assert 0.0 < cores["share"] <= 1.0
    print(f"{workers[0][0]} workers took part")


def test_a_module_that_is_edited_after_submit_changes_nothing(desk):
    """The network comes from the copy that was made at submit."""
    module = """
import keras

def build(params, image_shape, classes):
    units = {units}
    return keras.Sequential([
        keras.Input(image_shape), keras.layers.Flatten(),
        keras.layers.Dense(classes * units), keras.layers.Dense(classes, activation="softmax"),
    ])
"""
    desk.write("nets.py", module.format(units=1))
    layers = GRID[GRID.index("  layers:") : GRID.index("space:")]
    text = GRID.replace(layers, '  build: "nets:build"\n').replace("  dropout: [0.0, 0.25, 0.5]\n", "")
    desk.submit(desk.write("own.yaml", text.format(name="own")), profile(desk))
    desk.write("nets.py", module.format(units=50))
    desk.wait_until_complete("own", 4, 120)
    assert {row["parameters"] for row in desk.board("own")} == {str(64 * 10 + 10 + 110)}


def test_another_environment_is_refused(desk, monkeypatch):
    """A pool whose packages are not those of the submission trains nothing; log, status and notification say why."""
    for name, value in desk.cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(submission, "package_versions", lambda: {"numpy": "0.1"})
    told = desk.folder / "told"
    submit(sweep(desk, "other"), profile(desk, f'notify = "cat >> {told}"\n'), results=desk.results)
    fault = desk.cluster.until(lambda: desk.status("other")["faults"], 60, "the refusal")[0]
    assert "not the environment that submitted: numpy is " in fault
    assert "submitted with 0.1. Submit from the environment that the nodes have" in fault
    log = desk.type("logs", "other").stdout
    assert "submitted with 0.1" in log
    assert "Traceback" not in log
    assert desk.status("other")["trials"]["waiting"] == 1
    assert '"outcome": "failed", "text": "other: ' in told.read_text(encoding="utf-8")


def test_pools_that_never_start_are_seen(desk):
    """A missing Python, a failing line of setup, a node without the folder: `status` has cause and cure."""
    never = {
        "python": ('python = "/no/such/python"\n', "exit code 127", "/no/such/python: not found", "correct `python`"),
        "setup": ('setup = "no_such load cuda"\n', "exit code 3", "setup failed with exit code 127", "this line of"),
        "hidden": ("", "exit code 0:53", "could not open the job's log", "does not see the folder"),
    }
    script = desk.cluster.script
    script("node.sh", "exec", "n1", "mount", "-t", "tmpfs", "none", str(desk.folder))
    try:
        for name, (text, *_) in never.items():
            where = 'nodelist = "n1"' if name == "hidden" else 'exclude = "n1"'
            own = desk.write(f"{name}.toml", f"{text}{PROFILE}" + (where if name != "hidden" else f"[sbatch]\n{where}"))
            desk.submit(sweep(desk, name), own)
        found = desk.cluster.until(lambda: _all_ended(desk), 60, "their ends")
        for name, (_, code, cause, cure) in never.items():
            (end,) = found[name]["ended_jobs"]
            assert code in end["text"]
            assert cause in end["cause"]
            assert cure in end["cure"]
            assert f"`cnn-sweep resume {name} --profile" in found[name]["idle"]
        assert "could not open the job's log" in desk.type("logs", "hidden").stderr
    finally:
        script("node.sh", "exec", "n1", "umount", str(desk.folder))


def _all_ended(desk):
    found = {status["study"]: status for status in json.loads(desk.type("status", "--json").stdout)}
    return found if all(status["ended_jobs"] for status in found.values()) else None


@pytest.mark.long
def test_jobs_that_are_not_requeued_end_and_are_told(desk):
    """With `requeue = false` a limit is an ordinary end, told once; after a node's failure no trial seems to run."""
    told = desk.folder / "told"
    slow = {"trials": 2, "epochs": 5000}
    brief = 'time_limit = 2\nmemory = "1500M"\nsignal_delay_s = 60\narray_width = 2\nrequeue = false\nexclude = "n1"\n'
    notified = desk.write("limited.toml", f'{brief}notify = "cat >> {told}"\n')
    (limited,) = desk.submit(sweep(desk, "limited", **slow), notified)
    crashed = f'{PROFILE}requeue = false\n[sbatch]\nnodelist = "n1"\n'
    desk.submit(sweep(desk, "crashed", **slow), desk.write("crashed.toml", crashed))
    until = desk.cluster.until
    until(lambda: desk.journaled("crashed", b'"type":"epoch"'), 90, "training")
    desk.cluster.script("node.sh", "crash", "n1")
    try:
        until(lambda: desk.status("crashed")["dead"], 90, "the failure to be seen")
        status = desk.status("crashed")
        assert (status["trials"]["running"], status["trials"]["interrupted"]) == (0, 1)
        assert status["ended_jobs"][0]["state"] == "NODE_FAIL"
        until(lambda: not desk.status("limited")["jobs"], 150, "the end of the limit")
        status = desk.status("limited")
        assert [end["text"] for end in status["ended_jobs"]] == ["2 COMPLETED"]
        assert "requeue = false" in status["faults"][0]
        assert "no job is left in the queue" in status["idle"]
        log = desk.type("logs", "limited").stdout
        assert "2 of 2 trials are left; `cnn-sweep resume limited" in log
        assert "Traceback" not in log
        assert {row.state for row in desk.cluster.slurm.accounting([int(limited)])} == {"COMPLETED"}
        assert told.read_text(encoding="utf-8").count('"outcome": "failed"') == 1
    finally:
        desk.cluster.script("node.sh", "start", "n1")


def test_a_study_whose_trials_all_fail_alike_is_stopped(desk):
    """After three trials with one and the same exception no other is begun; status says why, in one line."""
    desk.write("nets.py", "def build(params, image_shape, classes):\n    raise ValueError('no such layer')\n")
    layers = GRID[GRID.index("  layers:") : GRID.index("space:")]
    text = GRID.replace(layers, '  build: "nets:build"\n')
    desk.submit(desk.write("broken.yaml", text.format(name="broken")), profile(desk))
    desk.cluster.until(lambda: desk.journaled("broken", b'"type":"fault"'), 90, "the pool to give up")
    status = desk.status("broken")
    assert (status["trials"]["failed"], status["trials"]["waiting"]) == (3, 9)
    assert "no further trial was begun" in status["faults"][0]
    assert "no such layer" in status["faults"][0]


def test_after_death_for_memory_resume_asks_for_more(desk):
    """The cause is recorded, and the next job has as much more memory as the profile says."""
    # A worker begins with about 0.6 GB; this network's weights and their optimizer take twice as much, for seconds.
    large = SWEEP.replace("filters: 2", "filters: 16").replace("- flatten", "- flatten\n    - dense: 60000")
    starved = desk.write("starved.yaml", large.format(name="starved", trials=1, epochs=2))
    small = PROFILE.replace("1500M", "1200M") + "[retry]\nmemory_factor = 2.0\n"
    (job,) = desk.submit(starved, desk.write("profile.toml", small))
    desk.cluster.until(lambda: "FAILED" in desk.cluster.states(int(job)).values(), 120, "the job's death")
    desk.cluster.until(lambda: desk.cluster.slurm.accounting([int(job)])[0].state == "FAILED", 30, "the accounts")
    resumed = desk.type("resume", "starved", "--profile", "profile.toml")
    assert "1 trial ran out of memory: memory = 2400" in resumed.stderr
    desk.cluster.submitted.append(int(resumed.stdout.split()[1]))
    desk.wait_until_complete("starved", 1, 400)
    assert desk.attempts("starved") == [("lost", "out_of_memory"), ("complete", None)]


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ("time_limit = 61", "profile.toml:1: time_limit: 61 min exceeds the MaxTime of partition main, 60 min"),
        ('partition = "mian"', "profile.toml:1: partition: unknown partition 'mian'"),
        ('account = "nobody"', "profile.toml:1: account: unknown account 'nobody'"),
        ('gres = "gpu:a100:1"', "profile.toml:1: gres:"),
        ('[sbatch]\nreservation = "mine"', "profile.toml:2: sbatch.reservation: sbatch refused the job"),
        ("tme_limit = 5", "did you mean 'time_limit'"),
    ],
)
def test_what_cannot_run_is_refused_with_the_cure(desk, settings, cure):
    """The message names the line of the profile and what is possible; nothing of the study stays behind."""
    desk.write("profile.toml", settings)
    refused = desk.type("submit", sweep(desk, "refused"), "--profile", "profile.toml", code=2)
    assert cure in " ".join(refused.stderr.split())
    assert not (desk.results / "refused").exists()


@pytest.mark.long
def test_two_submissions_at_once_give_the_pools_of_one(desk, tmp_path):
    """Whoever comes second is refused, and neither removes what the other submitted; a killed one is taken over."""
    held = profile(desk, "array_width = 2\n[sbatch]\nhold = true\n")
    command = ("submit", sweep(desk, "both", trials=8), "--profile", held)
    with ThreadPoolExecutor(2) as pool:
        typed = [pool.submit(desk.type_freely, *command) for _ in range(2)]
    ended = [one.result() for one in typed]
    assert sorted(done.returncode for done in ended) == [0, 2], [done.stderr for done in ended]
    (job,) = [line.split()[1] for done in ended for line in done.stdout.splitlines()]
    desk.cluster.submitted.append(int(job))
    assert [(one["job"], one["tasks"]) for one in desk.status("both")["jobs"]] == [(job, 2)]
    desk.type("cancel", "both")
    kill = tmp_path / "bin" / "sbatch"
    kill.parent.mkdir()
    kill.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@" >/dev/null\nkill -KILL $PPID\n', encoding="utf-8")
    kill.chmod(0o755)
    desk.cluster.path.append(f"{kill.parent}:{os.environ['PATH']}")
    desk.type_freely("resume", "both", "--profile", held)
    desk.cluster.path.pop()
    (orphan,) = [int(one["job"]) for one in desk.status("both")["jobs"]]
    (ours,) = desk.resume("both", held)
    assert [one["job"] for one in desk.status("both")["jobs"]] == [ours]
    assert "CANCELLED" in desk.cluster.states(orphan).values()


def test_ten_thousand_trials_cost_one_sbatch_and_few_files(desk, counted):
    """Submitting is one call and some files, whatever the number of trials; status is one or two calls."""
    many = sweep(desk, "many", trials=10_000)
    hold = profile(desk, "array_width = 8\n[sbatch]\nhold = true\n")
    script = desk.type("submit", many, "--profile", hold, "--dry-run").stdout
    assert "#SBATCH --array=0-7" in script
    assert not (desk.results / "many").exists()
    begun = time.monotonic()
    desk.submit(many, hold)
    submitted = time.monotonic() - begun
    assert counted()["sbatch"] == 1
    files = [file for file in desk.results.rglob("*") if file.is_file()]
    assert len(files) < 50
    desk.status("many")
    counted()
    begun = time.monotonic()
    status = desk.status("many")
    print(f"submit {submitted:.1f} s, {len(files)} files; status {time.monotonic() - begun:.2f} s")
    assert time.monotonic() - begun < 30  # seconds; without a limit on files it would take minutes
    assert counted().total() <= 2
    assert status["trials"]["waiting"] == 10_000
    assert status["jobs"][0]["states"] == {"PENDING: JobHeldUser": 8}
    assert "scontrol release" in desk.type("status", "many").stdout


def test_a_small_cluster_takes_a_large_study(spare_cluster, desk_at, tmp_path):
    """MaxArraySize=11 and MaxSubmitJobs=5: 200 trials are done by tasks of one trial (each takes more) and by pools."""
    spare = spare_cluster(SLURM_MAX_ARRAY="11")
    limits = ("MaxSubmitJobs=5", "MaxJobs=3")
    spare.slurm.run("sacctmgr", "-i", "modify", "user", "root", "where", "account=root", "set", *limits)
    desk = desk_at(spare, tmp_path)
    done = desk.type("submit", sweep(desk, "classic", trials=200), "--profile", profile(desk, "trials_per_task = 1\n"))
    assert "5 tasks instead of 200: MaxSubmitJobs of user root in account root is 5" in done.stderr
    assert "so each task takes up to 40 trials instead of 1" in done.stderr
    status = spare.until(lambda: _waiting(desk.status("classic")), 30, "a task to wait")
    assert "PENDING: AssocMaxJobsLimit" in status["jobs"][0]["states"]
    desk.wait_until_complete("classic", 200, 180)
    spare.until(lambda: not spare.slurm.run("squeue", "--noheader").strip(), 60, "an empty queue")
    desk.submit(sweep(desk, "pools", trials=200), profile(desk, "array_width = 20\n"))
    desk.wait_until_complete("pools", 200, 180)
    assert desk.board("pools") == desk.board("classic")


def _waiting(status):
    states = [state for job in status["jobs"] for state in job["states"]]
    return status if any(state.startswith("PENDING: Assoc") for state in states) else None


def test_a_cluster_without_accounts_will_do(spare_cluster, desk_at, tmp_path):
    """Submit, status, cancel of a trial and of the study, and resume work by squeue alone."""
    spare = spare_cluster(SLURM_DBD="0")
    desk = desk_at(spare, tmp_path)
    desk.submit(sweep(desk, "bare", trials=2, epochs=1500), profile(desk))
    spare.until(lambda: desk.journaled("bare", b'"type":"epoch"'), 60, "training")
    desk.type("cancel", "bare", 1)
    assert desk.status("bare")["jobs"][0]["states"] == {"RUNNING": 1}
    desk.type("cancel", "bare")
    spare.until(lambda: not desk.status("bare")["jobs"], 30, "the end of the job")
    assert desk.status("bare")["trials"]["interrupted"] == 1
    assert len(desk.resume("bare", profile(desk))) == 1
    desk.wait_until_complete("bare", 1, 120)
    assert [(row["state"], row["trial"]) for row in desk.board("bare")] == [("complete", "0"), ("failed", "1")]
    assert desk.attempts("bare") == [("interrupted", "stopped"), ("complete", None)]


def test_a_job_id_that_is_given_out_again_is_not_ours(spare_cluster, desk_at, tmp_path):
    """On a fresh cluster another job has our id: it is not shown, counted or cancelled."""
    spare = spare_cluster(SLURM_DBD="0")
    desk = desk_at(spare, tmp_path)
    (job,) = desk.submit(sweep(desk, "old", trials=2, epochs=1000), profile(desk))
    spare.until(lambda: desk.journaled("old", b'"type":"epoch"'), 60, "training")
    spare.script("node.sh", "crash", "n1")
    spare.script("down.sh")
    shutil.rmtree(spare.lab / "state" / "ctld")
    for file in desk.results.glob("old/journal/*.jsonl"):  # as if it were of yesterday: clocks may differ by a minute
        file.write_bytes(_a_day_earlier(file.read_bytes(), job))
    spare = spare_cluster(SLURM_DBD="0")
    assert spare.submit("other", "sleep") == int(job)
    spare.wait_for_starts("other")
    assert desk.status("old")["jobs"] == []
    desk.type("cancel", "old")
    assert spare.states(job) == {job: "RUNNING"}
    (ours,) = desk.resume("old", profile(desk))
    desk.wait_until_complete("old", 2, 120)
    assert ours != job
    assert desk.attempts("old") == [("lost", "gone"), ("complete", None)]
    assert spare.states(job) == {job: "RUNNING"}


def _a_day_earlier(journal, job):
    lines = []
    for line in journal.splitlines():
        event = json.loads(line[9:])
        event["time"] -= 86_400
        if event["type"] == "submit":
            event["jobs"][0]["time"] -= 86_400
        lines.append(event)
    return b"".join(encode(from_json(json.dumps(event).encode())) for event in lines)
