"""The kinds of faults: each is a generator that does the fault, yields while it holds, and undoes what can be undone.

A kind that does not apply at this moment ends before it yields.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import time
from zlib import crc32

from faults.fault_shim import Rule


def _signal(pid, number):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


# --- processes ---


def kill_worker(one):
    """Kill a worker."""
    if workers := one.workers():
        _signal(one.chance.choice(workers), signal.SIGKILL)
        one.expected.attempts += 1
        yield


def kill_fork_server(one):
    """Kill the process from which a pool forks its workers, which go on."""
    if servers := one.fork_servers():
        _signal(one.chance.choice(servers), signal.SIGKILL)
        yield


def freeze_fork_server(one):
    """Stop that process for a while; a pool that needs a worker waits."""
    if servers := one.fork_servers():
        yield from _frozen(one, one.chance.choice(servers))


def kill_pool(one):
    """Kill a pool; its workers notice."""
    if pools := one.trainers():
        _signal(one.chance.choice(pools).pid, signal.SIGKILL)
        one.expected.attempts += 1
        yield


def kill_group(one):
    """Kill a pool with all its workers, as the end of a login session does."""
    if pools := one.trainers():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.chance.choice(pools).pid, signal.SIGKILL)
        one.expected.attempts += 1
        yield


def kill_merger(one):
    """Kill a merge or a rebuild of the store."""
    yield from _kill_command(one, one.start("store", one.chance.choice(["merge", "rebuild"])))


def kill_command(one):
    """Kill some command at a random moment."""
    words = one.chance.choice(
        [["status", "s"], ["leaderboard", "s"], ["list"], ["show", "s", "0"], ["store", "check"], ["cancel", "s"]]
    )
    yield from _kill_command(one, one.start(*words))


def _kill_command(one, process):
    with contextlib.suppress(Exception):
        process.wait(timeout=one.chance.uniform(0.2, 1.5))
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    one.expected.attempts += 1  # a cancellation interrupts
    yield


def freeze_worker(one):
    """Stop a worker for a while, as a swapping or suspended node does."""
    if workers := one.workers():
        yield from _frozen(one, one.chance.choice(workers))


def freeze_pool(one):
    """Stop a pool for a while."""
    if pools := one.trainers():
        yield from _frozen(one, one.chance.choice(pools).pid)


def _frozen(one, pid):
    _signal(pid, signal.SIGSTOP)
    one.expected.attempts += 1
    yield
    _signal(pid, signal.SIGCONT)


def interrupt(one):
    """Press Ctrl-C once."""
    yield from _to_pool(one, [signal.SIGINT])


def terminate(one):
    """Ask a pool to end."""
    yield from _to_pool(one, [signal.SIGTERM])


def interrupt_twice(one):
    """Press Ctrl-C twice."""
    yield from _to_pool(one, [signal.SIGINT, signal.SIGINT])


def _to_pool(one, numbers):
    if pools := one.trainers():
        pool = one.chance.choice(pools)
        for number in numbers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pool.pid, number)
            time.sleep(one.chance.uniform(0.0, 0.2))
        one.expected.attempts += 1
        yield


def warn_worker(one):
    """Send Slurm's warning to one worker alone."""
    if workers := one.workers():
        _signal(one.chance.choice(workers), signal.SIGUSR2)
        one.expected.attempts += 1
        yield


def second_resume(one):
    """Resume a study that runs, on another mount where there is one."""
    if one.trainers():
        one.train(home=1)
        yield


def several_mergers(one):
    """Merge with several commands at once, beside the workers that merge."""
    if one.study.is_dir():
        for home in range(4):
            one.start("store", "merge", home=home)
        yield


def cancel_and_resume(one):
    """Cancel a study; the round resumes it."""
    if one.study.is_dir() and one.trainers():
        one.do("cancel", "s")
        one.expected.attempts += 1
        yield


def extend(one):
    """Add trials to a study, whether it runs or not."""
    if (one.study / "sweep.yaml").is_file() and one.expected.trials < 20:
        one.grow()
        process = one.start("run", one.sweep, "--extend", "--workers", 1, "--threads", 1, home=1)
        if one.chance.random() < 0.3:
            process.wait(timeout=120)
        deadline = time.monotonic() + 60
        revision = one.study / f"sweep.{len(list(one.study.glob('sweep*.yaml'))) + 1}.yaml"
        while process.poll() is None and not revision.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield


def archive_and_back(one):
    """Archive a study, perhaps kill that, and restore it; of one that runs it is refused."""
    if not (one.study / "sweep.yaml").is_file():
        return
    for pool in one.trainers():
        _signal(pool.pid, signal.SIGTERM)
        pool.wait()
    one.expected.attempts += 1
    process = one.start("archive", "s")
    if one.chance.random() < 0.5:
        with contextlib.suppress(Exception):
            process.wait(timeout=one.chance.uniform(0.5, 2.5))
        _signal(process.pid, signal.SIGKILL)
    process.wait()
    yield
    if not (one.study / "sweep.yaml").is_file():
        one.do("unarchive", "s")
    else:
        one.do("list")  # removes what a killed archive left
    shutil.rmtree(one.results / "archive", ignore_errors=True)


# --- the store ---


def _stores(one):
    files = [one.results / "sweeps.db", *one.results.glob(".sweeps/*.db")]
    return [file for file in files if file.is_file()]


def _store(one):
    files = _stores(one)
    one.expected.store_damaged |= bool(files)
    return one.chance.choice(files) if files else None


def flip_store(one):
    """Flip a bit of the store."""
    if (file := _store(one)) is not None:
        _flip(file, one.chance)
        yield


def _flip(file, chance, *, first=0):
    with contextlib.suppress(FileNotFoundError), file.open("r+b") as opened:
        size = os.fstat(opened.fileno()).st_size
        if size > first:
            place = chance.randrange(first, size)
            opened.seek(place)
            byte = opened.read(1)[0]
            opened.seek(place)
            opened.write(bytes([byte ^ 1 << chance.randrange(8)]))


def truncate_store(one):
    """Cut the store short."""
    if (file := _store(one)) is not None:
        with contextlib.suppress(FileNotFoundError):
            os.truncate(file, one.chance.randrange(file.stat().st_size + 1))
        yield


def remove_store(one):
    """Remove the store."""
    if _stores(one):
        for file in _stores(one):
            file.unlink(missing_ok=True)
        yield


def lock_store(one):
    """Lock the store, as another program that has it open does."""
    file = one.results / "sweeps.db"
    if file.is_file() and one.plan.storage == "honest":
        with contextlib.closing(sqlite3.connect(file, timeout=0)) as opened:
            with contextlib.suppress(sqlite3.Error):
                opened.execute("BEGIN EXCLUSIVE")
            yield


def read_only_store(one):
    """Let nobody write the store."""
    yield from _failing(one, Rule(errno.EROFS, ("create", "rename", "unlink", "mkdir"), "results/.sweeps"))


# --- journals: these destroy what happened ---


def _journal(one):
    files = [file for file in one.journals() if file.stat().st_size > 0]
    if not files:
        return None
    one.expected.destroyed = True
    one.expected.attempts += 3
    return one.chance.choice(files)


def flip_journal(one):
    """Flip a bit of a journal."""
    if (file := _journal(one)) is not None:
        _flip(file, one.chance)
        yield


def truncate_journal(one):
    """Cut a journal short."""
    if (file := _journal(one)) is not None:
        os.truncate(file, one.chance.randrange(file.stat().st_size))
        yield


def delete_last_line(one):
    """Delete the last line of a journal."""
    if (file := _journal(one)) is not None:
        content = file.read_bytes()
        os.truncate(file, content.rstrip(b"\n").rfind(b"\n") + 1)
        yield


def garbage_in_journal(one):
    """Append garbage to a journal; nothing is destroyed."""
    if files := one.journals():
        _append(one.chance.choice(files), one.chance.randbytes(60).replace(b"\n", b"") + b"\n")
        yield


_ODD = (
    {"type": "epoch", "time": "2027-01-01", "trial": 0, "attempt": 0, "epoch": 1, "seconds": 1.0, "metrics": {}},
    {"type": "end", "time": 1.0, "trial": "3", "attempt": 1.5, "state": "complete"},
    {"type": "start", "time": 1.0, "trial": 1, "attempt": 0, "configuration": 7, "repeat": None},
    {"type": "extend", "time": 1.0, "revision": [1], "trials": {}, "configurations": 1, "invalid": 0},
    {"type": "cancel", "time": None, "trial": -1},
    {"type": ["end"], "time": 1.0},
    [1, 2],
)


def odd_lines(one):
    """Append lines with good checksums and wrong types."""
    if files := one.journals():
        for odd in one.chance.sample(_ODD, len(_ODD)):
            body = json.dumps(odd).encode()
            _append(one.chance.choice(files), b"%08x " % crc32(body) + body + b"\n")
        yield


def _append(file, line):
    with file.open("ab") as opened:
        opened.write(line)


# --- checkpoints and claims ---


def damage_checkpoint(one):
    """Flip a bit of a checkpoint."""
    if files := sorted(one.study.glob("checkpoints/[0-9]*")):
        _flip(one.chance.choice(files), one.chance)
        yield


def remove_checkpoint(one):
    """Remove a checkpoint."""
    if files := sorted(one.study.glob("checkpoints/[0-9]*")):
        one.chance.choice(files).unlink(missing_ok=True)
        yield


def remove_checkpoints(one):
    """Remove the folder of checkpoints for a while."""
    folder, away = one.study / "checkpoints", one.results.parent / "checkpoints-away"
    if folder.is_dir() and not away.exists():
        folder.rename(away)
        one.expected.attempts += 6
        yield
        if not folder.exists() and one.study.is_dir():
            away.rename(folder)
        shutil.rmtree(away, ignore_errors=True)


def unwritable_checkpoints(one):
    """Let nobody write checkpoints for a while."""
    number = one.chance.choice([errno.EACCES, errno.EDQUOT, errno.ENOSPC])
    yield from _failing(one, Rule(number, ("create",), "/s/checkpoints/"))


def remove_claim(one):
    """Remove the claim of an attempt that has ended."""
    if one.trainers():
        return
    if files := sorted(file for file in one.study.glob("claims/[0-9]*")):
        one.chance.choice(files).unlink(missing_ok=True)
        yield


# --- calls that fail, and the clock ---


def _failing(one, rule):
    if one.shim is None or not one.study.is_dir():
        return
    one.shim.fail(rule)
    one.expected.attempts += 6
    yield
    one.shim.clear()


def full_disk(one):
    """Let every write fail, some after half of it."""
    number = one.chance.choice([errno.ENOSPC, errno.EDQUOT])
    yield from _failing(one, Rule(number, ("write", "create", "mkdir"), "/results/", torn=True))


def full_small_disk(one):
    """Fill the disk."""
    if one.plan.storage == "small":
        ballast = one.homes[0] / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        one.expected.attempts += 6
        yield
        ballast.unlink(missing_ok=True)


def failing_reads(one):
    """Let some reads fail."""
    number = one.chance.choice([errno.EIO, errno.ESTALE])
    path = one.chance.choice(["/s/journal/", "/s/claims/", "/results/s/", "/s/checkpoints/"])
    yield from _failing(one, Rule(number, ("read", "open"), path, every=one.chance.choice([1, 3, 10])))


def failing_writes(one):
    """Let some writes fail."""
    number = one.chance.choice([errno.EIO, errno.ESTALE, errno.ENOSPC])
    path = one.chance.choice(["/s/journal/", "/s/claims/", "/results/s/", "/s/models/", "sweeps"])
    calls = one.chance.choice([("write",), ("create",), ("sync",), ("write", "sync", "link", "rename")])
    yield from _failing(one, Rule(number, calls, path, every=one.chance.choice([1, 2, 5]), torn=True))


def failing_links(one):
    """Let claims and renames fail."""
    number = one.chance.choice([errno.ESTALE, errno.EIO, errno.EDQUOT, errno.EPERM])
    yield from _failing(one, Rule(number, ("link", "rename"), "/results/", every=one.chance.choice([1, 3])))


def failing_stats(one):
    """Let looking at files fail."""
    yield from _failing(one, Rule(errno.ESTALE, ("stat",), "/results/s/", every=one.chance.choice([2, 7])))


def failing_forks(one):
    """Let no process start another."""
    yield from _failing(one, Rule(errno.EAGAIN, ("fork",)))


def clock_jump(one):
    """Move the wall clock for a while."""
    if one.shim is not None:
        one.shim.move_clock(one.chance.choice([-86400, -3600, -5, 5, 3600, 86400]))
        yield
        one.shim.move_clock(0)


def clock_stays_wrong(one):
    """Move the wall clock for the rest of the round."""
    if one.shim is not None:
        one.shim.move_clock(one.chance.choice([-3600, -60, 60, 3600]))
        yield


_PROCESSES = (
    kill_worker, kill_fork_server, kill_pool, kill_group, kill_merger, kill_command, freeze_worker, freeze_fork_server,
    freeze_pool, interrupt, terminate, interrupt_twice, warn_worker, second_resume, several_mergers, cancel_and_resume,
    extend, archive_and_back,
)  # fmt: skip
_STORE = (flip_store, truncate_store, remove_store, lock_store, read_only_store)
_JOURNALS = (flip_journal, truncate_journal, delete_last_line)
_HARMLESS = (garbage_in_journal, odd_lines)
_FILES = (damage_checkpoint, remove_checkpoint, remove_checkpoints, unwritable_checkpoints, remove_claim)
_CALLS = (
    full_disk, full_small_disk, failing_reads, failing_writes, failing_links, failing_stats, failing_forks, clock_jump,
    clock_stays_wrong,
)  # fmt: skip
KINDS = {kind.__name__: kind for kind in (*_PROCESSES, *_STORE, *_JOURNALS, *_HARMLESS, *_FILES, *_CALLS)}
DESTROYING = frozenset(kind.__name__ for kind in _JOURNALS)


def draw(chance, *, destroying):
    """Draw a kind; kills of workers, which are the most frequent fault, come more often."""
    names = [name for name in KINDS if destroying or name not in DESTROYING]
    return chance.choice([*names, "kill_worker", "kill_worker", "kill_group"])
