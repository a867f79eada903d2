"""Workers share devices: assignment of GPUs, growth of memory, and a device for one worker alone."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from cnn_sweep.errors import EnvironmentFault
from cnn_sweep.execution import machine as devices
from cnn_sweep.execution.attempts.liveness import Attempt, Death, LocalDetector
from cnn_sweep.execution.pool import pool as pools
from cnn_sweep.execution.pool.pool import Pool
from cnn_sweep.execution.worker.memory_growth import GrowthWatch, own_bytes
from cnn_sweep.execution.worker.protocol import Ending, WorkerSettings
from cnn_sweep.journal.claims import Owner
from cnn_sweep.journal.identity import current
from cnn_sweep.slurm.profile import Profile

# A worker is born with its signals held, and lets them through once it listens.
UNTIL_TOLD = """
import signal, sys
signal.signal(15, lambda *_: sys.exit(0))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {15})
print(flush=True)
signal.pause()
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_GPUS": "2,3"}, ["0", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,MIG-b"}, ["GPU-a", "MIG-b"]),
        ({"SLURM_JOB_GPUS": "2,3"}, ["2", "3"]),
        ({"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_GPUS": "2"}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
    ],
)
def test_a_task_uses_the_gpus_that_slurm_granted(environment, expected):
    """The job's own names come before the node's numbers, and no name means no GPU."""
    assert devices.visible_gpus(environment) == expected


def test_without_a_word_of_the_environment_the_driver_is_asked(tmp_path, monkeypatch):
    """GPUs are numbers then; a machine without a driver has none."""
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "gpus")
    assert devices.visible_gpus({}) == []
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "gpus" / name).mkdir(parents=True)
    assert devices.visible_gpus({}) == ["0", "1"]


def test_memory_is_what_groups_and_the_job_leave(tmp_path):
    """The least limit counts: of groups around this process's, in both versions of cgroups, or of its Slurm job."""
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n", encoding="utf-8")
    (tmp_path / "job" / "step").mkdir(parents=True)
    free = devices.usable_memory(tmp_path, own, {})
    assert free > 1 << 20
    (tmp_path / "job" / "step" / "memory.max").write_text("max\n", encoding="utf-8")
    assert devices.usable_memory(tmp_path, own, {}) == pytest.approx(free, rel=0.5)
    (tmp_path / "job" / "memory.max").write_text("9000000\n", encoding="utf-8")
    assert devices.usable_memory(tmp_path, own, {}) == 9_000_000
    own.write_text("4:cpuset,memory:/job\n0::/\n", encoding="utf-8")
    (tmp_path / "memory" / "job").mkdir(parents=True)
    (tmp_path / "memory" / "job" / "memory.limit_in_bytes").write_text("8000000\n", encoding="utf-8")
    assert devices.usable_memory(tmp_path, own, {}) == 8_000_000
    job = {"SLURM_MEM_PER_CPU": "2", "SLURM_CPUS_ON_NODE": "3"}
    assert devices.usable_memory(tmp_path, own, job) == 6 << 20
    assert devices.usable_memory(tmp_path, own, {"SLURM_MEM_PER_NODE": "0"}) == 8_000_000


@pytest.mark.parametrize(
    ("gpus", "memory", "threads", "workers"),
    [
        ([], 64e9, 1, 16),
        ([], 64e9, 4, 4),
        ([], 64e9, 32, 1),
        ([], 6.5e9, 1, 6),
        ([], 1e8, 1, 1),
        (["0", "1"], 64e9, 1, 4),
    ],
)
def test_workers_fill_cores_or_gpus_but_not_the_memory(monkeypatch, gpus, memory, threads, workers):
    """On 16 cores: one worker a core, or two a GPU, unless its memory or its threads allow fewer."""
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    monkeypatch.setattr(devices, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(devices, "usable_memory", lambda: memory)
    assert devices.default_workers(threads) == workers
    monkeypatch.delattr(devices, "usable_memory")
    assert devices.default_workers(threads, memory) == workers


def test_workers_take_turns_on_the_gpus_of_their_task():
    """Each GPU gets as many workers as any other, give or take one."""
    assert [devices.gpu_of(worker, ["2", "5"]) for worker in range(5)] == ["2", "5", "2", "5", "2"]
    assert devices.gpu_of(0, []) is None


def test_a_profile_counts_workers_by_gpu():
    """workers_per_gpu makes the pool as large as the task's GPUs allow, and must make sense."""
    text = 'cpus = 16\ngpus_per_node = "a100:2"\nworkers_per_gpu = 4\ngpu_memory = "9G"\n'
    profile = Profile.parse(text)
    assert (profile.workers, profile.worker_threads, profile.gpu_memory) == (8, 1, 9 * 1024)
    for wrong in ("cpus = 4\nworkers_per_gpu = 2\n", text + "workers_per_task = 2\n", text.replace("16", "4")):
        with pytest.raises(Exception, match="workers_per_gpu"):
            Profile.parse(wrong)


def test_a_worker_that_grows_by_a_fifth_and_more_is_noticed():
    """Growth is measured from the warm worker; less than 200 MB is not worth a new process."""
    for sizes, noticed in (([1.0e9] * 20 + [1.39e9] * 9, False), ([1.0e9] * 20 + [1.41e9], True)):
        left = iter(map(int, sizes[19:]))
        watch = GrowthWatch(lambda left=left: next(left))
        told = [watch.after_trial() for _ in sizes]
        assert [words is not None for words in told] == [False] * (len(sizes) - 1) + [noticed]
    assert "1410 MB after 21 trials, 1000 MB after 20" in told[-1]
    assert own_bytes() > 1e6


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """A pool of two whose workers are programs that the test gives, one after the other, and what they were told."""
    programs, told, started = [], [], []

    def start(place, _gpu, *, alone):
        told.append((place, alone))
        started.append(subprocess.Popen([sys.executable, "-c", programs.pop(0)], stdout=subprocess.PIPE))
        return started[-1]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    made = Pool(WorkerSettings(tmp_path, "study", 1, since=0.0), 2, tmp_path)
    monkeypatch.setattr(made._starter, "start", start)
    monkeypatch.setattr(made._starter, "is_ready", lambda: True)
    yield SimpleNamespace(pool=made, programs=programs, told=told)
    made.kill()
    for process in started:
        process.communicate()


def reap_until(pool, condition):
    """Reap until a condition holds; return all deaths."""
    deadline, deaths = time.monotonic() + 30, []
    while not condition():
        assert time.monotonic() < deadline
        deaths += pool.reap()
    return deaths


def test_a_worker_that_has_grown_is_replaced(pool):
    """Its end is no death, and its place is taken by a new one."""
    pool.programs += [f"raise SystemExit({int(Ending.GROWN)})", UNTIL_TOLD]
    pool.pool.fill(1)
    assert reap_until(pool.pool, lambda: pool.pool.needs_refill) == []
    pool.pool.fill(1)
    assert pool.pool.running == 1


def test_after_lack_of_memory_one_worker_has_the_device_alone(pool):
    """The others stop first, and begin again after it; none of that counts as a death."""
    pool.programs += [UNTIL_TOLD, f"raise SystemExit({int(Ending.OUT_OF_MEMORY)})", "pass", UNTIL_TOLD, UNTIL_TOLD]
    pool.pool.fill(2)
    pool.pool._slots[0].process.stdout.readline()  # it can be told to stop from now on
    deaths = reap_until(pool.pool, lambda: pool.pool.running < 2)
    pool.pool.fill(2)
    assert pool.told == [(0, False), (1, False)], "somebody still uses the device"
    deaths += reap_until(pool.pool, lambda: not pool.pool.running)
    pool.pool.fill(2)
    assert pool.told[2:] == [(0, True)]
    deaths += reap_until(pool.pool, lambda: not pool.pool.running)
    assert pool.pool.needs_refill
    pool.pool.fill(2)
    assert pool.told[3:] == [(0, False), (1, False)]
    assert deaths == []


def test_exit_codes_of_a_trials_own_code_are_no_fault_of_the_environment(pool, tmp_path):
    """Only a worker that ends with its own message cannot work; other deaths are recorded with their trials."""
    code = EnvironmentFault.exit_code
    pool.programs += [f"raise SystemExit({code})", "import os; os.kill(os.getpid(), 11)", f"raise SystemExit({code})"]
    pool.pool.fill(2)
    deaths = reap_until(pool.pool, lambda: pool.pool.running == 0)
    pool.pool.count_false_starts(deaths, began={death.pid for death in deaths})
    assert sorted(death.how for death in deaths) == [f"ended with exit code {code}", "was killed by SIGSEGV"]
    me = current()
    for death in deaths:
        gone = Owner("w", replace(me, pid=death.pid, started=0), 0.0)
        exits = {death.pid: Death("killed", f"the worker {death.how}")}
        (found,) = LocalDetector(exits).deaths({Attempt(0, 0): gone}).values()
        assert found == ("killed", f"the worker {death.how}")
    pool.pool.fill(1)
    (death,) = reap_until(pool.pool, lambda: pool.pool.running == 0)
    death.log.write_text("INFO trial 0\ncnn-sweep: the disk is full\n", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match=r"a worker cannot work:\n *cnn-sweep: the disk is full"):
        pool.pool.count_false_starts([death], began={death.pid})


@pytest.mark.parametrize(
    ("group", "file", "text"),
    [
        (
            "9:name=systemd:/\n4:memory:/job_1/step_0\n0::/\n",
            "memory/job_1/step_0/memory.oom_control",
            "x 0\noom_kill 2\n",
        ),
        ("0::/system.slice/job_1\n", "system.slice/job_1/memory.events", "oom 3\noom_kill 2\n"),
    ],
)
def test_the_kernels_kills_for_memory_are_counted(tmp_path, group, file, text):
    """Of this process's own control group, in both versions; without a count nobody is taken for such a victim."""
    own = tmp_path / "own"
    own.write_text(group, encoding="utf-8")
    assert devices.kernel_memory_kills(tmp_path, own) == 0
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert devices.kernel_memory_kills(tmp_path, own) == 2
    assert devices.kernel_memory_kills(tmp_path, tmp_path / "missing") == 0


@pytest.mark.parametrize(("kills", "out_of_memory"), [(1, True), (0, False)])
def test_a_worker_that_the_kernel_killed_for_memory_is_told_apart(pool, monkeypatch, kills, out_of_memory):
    """SIGKILL while the control group's count rises is a kill for memory; otherwise it may be anybody's."""
    monkeypatch.setattr(pools, "kernel_memory_kills", lambda: kills)
    pool.programs += ["import os; os.kill(os.getpid(), 9)"]
    pool.pool.fill(1)
    (death,) = reap_until(pool.pool, lambda: pool.pool.running == 0)
    assert death.out_of_memory is out_of_memory
