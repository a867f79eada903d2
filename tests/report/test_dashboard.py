"""``cnn-sweep dashboard``: optuna-dashboard on loopback, on a copy that keeps up."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from cnn_sweep.cli.commands.dashboard import dashboard
from cnn_sweep.errors import InputError
from cnn_sweep.journal.events import End, Epoch, Start, Worker
from cnn_sweep.journal.identity import ProcessIdentity
from cnn_sweep.journal.log import encode
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.report.exports.dashboard_server import Gate

WAIT_S = 120  # for an answer, on a machine that does other work


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def _dashboard(written, port):
    """Run the command; yield its process and the address that it prints."""
    words = ["dashboard", "digits", "--port", str(port), "--interval", "1"]
    run = subprocess.Popen(
        [sys.executable, "-m", "cnn_sweep.cli.main", *words],
        env=os.environ | {"CNN_SWEEP_RESULTS": str(written.results)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        yield run, run.stdout.readline().strip()
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
        run.communicate(timeout=WAIT_S) if not run.stdout.closed else run.wait(timeout=WAIT_S)


def _browser():
    """Return a client that keeps cookies."""
    return urllib.request.build_opener(urllib.request.HTTPCookieProcessor())


def _status(port, path, method="GET", **headers):
    """Send one request by hand; return its status."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=WAIT_S)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status


def test_the_dashboard_shows_a_study_and_keeps_up(written):
    """optuna-dashboard's own API gives the trials, and those that finish later, to who knows the token.

    An interrupt ends it and its server.
    """
    pytest.importorskip("optuna_dashboard")
    written.study(trials=6, states=("complete", "complete", "failed"))
    port = _free_port()
    with _dashboard(written, port) as (run, address):
        assert re.fullmatch(rf"http://127\.0\.0\.1:{port}/\?token=[\w-]{{40,}}", address), run.stderr.read()
        browser = _browser()
        with browser.open(address, timeout=WAIT_S) as page:
            assert "token" not in page.url
            assert b"<script" in page.read()

        def _asked(what):
            with browser.open(f"http://127.0.0.1:{port}/api/{what}", timeout=WAIT_S) as answer:
                return json.load(answer)

        (summary,) = _asked("studies")["study_summaries"]
        assert summary["study_name"] == "digits"
        trials = f"studies/{summary['study_id']}?after=0"
        found = _asked(trials)["trials"]
        assert sorted(trial["state"] for trial in found) == ["Complete"] * 4 + ["Fail"] * 2
        with pytest.raises(InputError, match=f"--port {port} is in use"):
            dashboard("digits", port, 1.0, written.results)

        params = {"filters": 8, "optimizer": "adam", "learning_rate": 0.01}
        later = [
            Worker(9_000.0, ProcessIdentity("node8", "boot", "pid:[1]", 9, 9), {}, 1),
            Start(9_000.0, 6, 0, "c6", 0, 6, params),
            Epoch(9_001.0, 6, 0, 1, 1.0, {"val_accuracy": 0.99}),
            End(9_002.0, 6, 0, "complete", None, None, 1, 1.0),
        ]
        StudyPaths(written.results, "digits").journal("later").write_bytes(b"".join(map(encode, later)))
        deadline = time.monotonic() + WAIT_S
        while len(found := _asked(trials)["trials"]) < 7:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert [0.99] in [trial.get("values") for trial in found]
        before = _contents(written.results)
        _check_who_may_come_in(port, run, address.partition("token=")[2])
        assert _contents(written.results) == before  # what is deleted there is deleted in the copy alone
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=WAIT_S)
    assert run.returncode == 0, said
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in said
    assert address.partition("token=")[2] not in said
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def _check_who_may_come_in(port, run, token):
    """Without token or under another host's name nothing is answered; with it pages, scripts and the API are."""
    cookie, own = f"cnn-sweep-{port}={token}", f"http://127.0.0.1:{port}"
    paths = ("/", "/dashboard", "/api/studies", "/static/bundle.js", "/?token=", f"/?token={token}x")
    assert {path: _status(port, path) for path in paths} == dict.fromkeys(paths, 403)
    assert _status(port, "/api/studies/1", "DELETE") == 403
    assert _status(port, "/api/studies", Cookie=f"cnn-sweep-{port}=wrong") == 403
    assert _status(port, "/api/studies", Cookie=cookie, Host=f"evil.example.org:{port}") == 421
    assert _status(port, "/api/studies", Cookie=cookie, Origin="http://evil.example.org") == 403
    assert _status(port, "/api/studies/1", "DELETE", Cookie=cookie, Origin="http://127.0.0.1:9") == 403
    assert _status(port, "/dashboard", Cookie=cookie) == 200
    assert _status(port, "/static/bundle.js", Cookie=cookie) == 200
    assert _status(port, "/api/studies", Cookie=cookie, Host="localhost:9000") == 200
    assert _status_of_another_user(port) in {"403", None}
    assert token not in _command_lines(run.pid)
    assert _status(port, "/api/studies/1", "DELETE", Cookie=cookie, Origin=own) == 204


def _contents(folder):
    """Return the content of each file of the studies below a folder."""
    return {str(path): path.read_bytes() for path in (folder / "digits").rglob("*") if path.is_file()}


def _status_of_another_user(port):
    """Ask as another user, as far as this process may become one; else None."""
    if os.getuid() != 0:
        return None
    code = "import sys, http.client as h; c = h.HTTPConnection('127.0.0.1', int(sys.argv[1])); "
    code += "c.request('DELETE', '/api/studies/1'); print(c.getresponse().status)"
    command = ["/usr/bin/python3", "-c", code, str(port)]
    return subprocess.run(
        command, user=65534, group=65534, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()


def _command_lines(pid):
    """Return the command lines of a process and of its children, which every user of a machine can read."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
    assert children
    return "".join(Path(f"/proc/{one}/cmdline").read_text(encoding="utf-8") for one in (pid, *children))


def test_a_token_leads_to_the_same_page_on_this_server_only():
    """The redirect that takes the token out of the address keeps the path and the rest, and leads nowhere else."""
    gate, started = Gate(lambda environ, start: [b"app"], "secret", 8080), []
    environ = {"HTTP_HOST": "127.0.0.1:8080", "PATH_INFO": "//evil.org/a b", "QUERY_STRING": "n=1&token=secret"}
    assert gate(environ, lambda status, headers: started.append((status, dict(headers)))) == []
    ((status, headers),) = started
    assert status.startswith("303")
    assert headers["Location"] == "/evil.org/a%20b?n=1"
    assert "HttpOnly" in headers["Set-Cookie"]


@pytest.mark.parametrize(
    "cookie", ["", "x", 'cnn-sweep-8080="', "cnn-sweep-8080=s\xe9", "cnn-sweep-8081=secret", "=;=;,"]
)
def test_odd_cookies_are_refused(cookie):
    """A cookie that is damaged, of another port or not ASCII is none."""
    gate, started = Gate(lambda environ, start: [b"app"], "secret", 8080), []
    environ = {"HTTP_HOST": "localhost", "PATH_INFO": "/", "HTTP_COOKIE": cookie}
    assert b"token" in b"".join(gate(environ, lambda status, headers: started.append(status)))
    assert started == ["403 Forbidden"]
