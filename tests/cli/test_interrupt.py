"""Signals, closed pipes and errors of the system end a command with one message and the documented exit code."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.typed import typed_here
from helpers.written import Written

from cnn_sweep.cli.ui.interrupt import interruptible
from cnn_sweep.store.reader import query
from cnn_sweep.study import Study


def test_an_interrupt_while_an_object_is_finalized_counts():
    """Python would print such an exception, and go on as if nobody had typed anything."""

    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with interruptible() as interrupt:
        assert not interrupt.wait(0.01)
        del (held := [Finalized()])[:]
        assert held == []
        began = time.monotonic()
        assert interrupt.wait(60)
    assert time.monotonic() - began < 30


def test_a_second_interrupt_ends_at_once():
    """A second Ctrl-C interrupts a poll; afterwards, the original signal handler is restored."""
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT count(*) FROM t"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the results of a finished study."""
    folder = tmp_path_factory.mktemp("signals")
    Written(folder / "results").study(trials=4)
    return folder


@pytest.fixture
def later():
    """Sends a signal to this process in a moment; gives a function that does it."""
    timers = []

    def send(number, seconds=0.3):
        timers.append(threading.Timer(seconds, os.kill, (os.getpid(), number)))
        timers[-1].start()

    yield send
    for timer in timers:
        timer.cancel()
        timer.join()


def test_ctrl_c_ends_an_endless_query_in_python(folder, later):
    """SQLite computes for ever; a notebook stays usable."""
    later(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        query(folder / "results", ENDLESS)
    assert query(folder / "results", "SELECT count(*) FROM trials")[1] == [(4,)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_an_endless_query(folder, later, number, code):
    """Without a traceback, and with the exit code of the signal; afterwards signals mean what they did before."""
    before = signal.getsignal(signal.SIGTERM)
    later(number, 1.0)
    done = typed_here(("sql", ENDLESS, "--results", folder / "results"), folder, {})
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_ends_early_is_no_error(folder):
    """`cnn-sweep … | head` ends quietly with 0."""
    command = [sys.executable, "-m", "cnn_sweep.cli.main", "status", "digits", "--results", "results"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(120) == 0


def test_ctrl_c_while_a_command_starts_prints_no_traceback(folder):
    """From the first line of ours on; here while the program's own modules are imported."""
    code = (
        "import os, runpy, signal, sys; "
        "sys.orig_argv[1:] = ['-m', 'cnn_sweep.cli.main']; sys.argv[:] = ['cnn-sweep', 'status']; "
        "sys.addaudithook(lambda event, args: event == 'import' and args[0] == '{}' "
        "and os.kill(os.getpid(), signal.SIGINT)); "
        "runpy.run_module('cnn_sweep.cli.main', run_name='__main__')"
    )
    for module, code_of_exit in (("cnn_sweep.errors", -signal.SIGINT), ("cnn_sweep.report.live", 130)):
        command = [sys.executable, "-c", code.replace("{}", module)]
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code_of_exit, "", "")


NUMBERS = ["EACCES", "EAGAIN", "EBUSY", "EDQUOT", "EEXIST", "EIO", "EMFILE", "ENFILE", "ENOENT", "ENOSPC", "ENOTDIR"]


@pytest.mark.parametrize("name", [*NUMBERS, "ENOMEM", "EPERM", "EROFS", "ESTALE", "ETIMEDOUT"])
def test_an_error_of_the_system_is_one_message(folder, monkeypatch, name):
    """It has the path, the system's words and a cure; the exit code is 3."""
    number = getattr(errno, name)
    file = folder / "results" / "digits" / "journal" / "w.jsonl"

    def fail(*_arguments, **_how):
        raise OSError(number, os.strerror(number), str(file))

    monkeypatch.setattr(Study, "status", fail)
    done = typed_here(("status", "digits", "--results", folder / "results"), folder, {})
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cnn-sweep: {file}: {os.strerror(number)}; ")
