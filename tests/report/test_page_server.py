"""The live page through a UNIX socket: who can open it, what it answers, and whom it makes room for."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest
from helpers.typed import typed_here

from cnn_sweep.errors import InputError
from cnn_sweep.journal import trust
from cnn_sweep.report.document.page_server import served


class _Through(HTTPConnection):
    """A connection to a socket file, as that of `ssh -L`."""

    def __init__(self, file):
        super().__init__("localhost", timeout=20)
        self._file = file

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._file))


def ask(file, path, method="GET", **headers):
    """Return the status, the headers and the content of an answer."""
    with closing(_Through(file)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def page(tmp_path):
    """A folder with a page, and a file that is not the page's."""
    folder = tmp_path / "page"
    folder.mkdir()
    for name in ("index.html", "data.js", "phone.html", "private"):
        (folder / name).write_text(name, encoding="utf-8")
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    return folder


@pytest.fixture
def place(tmp_path):
    """Where the socket will be."""
    return tmp_path / "page.socket"


def test_the_page_and_its_data_are_served_to_their_owner_alone(page, place):
    """Each with its type, whatever the host is called; the socket has the mode 0600 and is removed at the end."""
    with served(page, place):
        assert stat.S_IMODE(place.lstat().st_mode) == 0o600
        for path, name, kind in (
            ("/", "index.html", "text/html"),
            ("/index.html", "index.html", "text/html"),
            ("/data.js?17", "data.js", "text/javascript"),
            ("/phone.html", "phone.html", "text/html"),
        ):
            status, headers, content = ask(place, path, Host="elsewhere:1")
            assert (status, content.decode()) == (200, name)
            assert headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert not place.exists()


@pytest.mark.parametrize(
    "path", ["/private", "/../secret", "/%2e%2e/secret", "//etc/passwd", "/page/", "/.", "data.js", "*"]
)
def test_nothing_else_is_served(page, place, path):
    """No other file of the folder, no path out of it, and no list of files."""
    with served(page, place):
        status, _, content = ask(place, path)
    assert status == 404
    assert b"secret" not in content
    assert b"private" not in content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_only_get_is_answered(page, place, method):
    """Nothing can be changed through the socket."""
    with served(page, place):
        assert ask(place, "/", method)[0] == 501


def test_a_page_that_is_not_yet_written_is_not_found(page, place):
    """A request before the first renewal gets an answer."""
    (page / "data.js").unlink()
    with served(page, place):
        assert ask(place, "/data.js")[0] == 404


def test_a_second_server_is_refused(page, place):
    """The first one goes on."""
    with served(page, place):
        with pytest.raises(InputError, match="another server uses --socket"), served(page, place):
            pass
        assert ask(place, "/")[0] == 200


def test_the_socket_of_a_dead_server_is_replaced(page, place):
    """A killed process leaves its socket behind, and nobody answers there."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
        dead.listen()
    assert place.exists()
    with served(page, place):
        assert ask(place, "/")[0] == 200


def test_places_that_do_not_fit_are_refused(page, place, tmp_path):
    """A file that is no socket, a path that is too long, a missing folder, and a folder that others can write."""
    place.write_text("mine", encoding="utf-8")
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    for file, why in (
        (place, "is no socket"),
        (tmp_path / ("x" * 107), "a socket's path at most 107"),
        (tmp_path / "none" / "s", "No such file or directory"),
        (shared / "s", "only you can write"),
    ):
        with pytest.raises(InputError, match=why), served(page, file):
            pass
    assert place.read_text(encoding="utf-8") == "mine"


def test_a_folder_of_ones_private_group_is_ones_own(page, tmp_path, monkeypatch):
    """A group without other members may write the folder, as with the umask 002; one with other members may not."""
    tmp_path.chmod(0o775)
    members = ["me"]
    monkeypatch.setattr(trust, "_writers", lambda _path, _info: ([], [4711]))
    monkeypatch.setattr(trust.pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="me", pw_gid=4711))
    monkeypatch.setattr(trust.grp, "getgrgid", lambda _: SimpleNamespace(gr_name="me", gr_mem=members))
    with served(page, tmp_path / "s"):
        assert ask(tmp_path / "s", "/")[0] == 200
    members.append("you")
    refused = pytest.raises(InputError, match=r"can be written by the group me \(mode 0775\); put --socket")
    with refused, served(page, tmp_path / "s"):
        pass


def test_the_command_serves_a_finished_study_until_ctrl_c(written, tmp_path):
    """It prints the tunnel; Ctrl-C removes the socket and leaves the page."""
    written.study(trials=6)
    words = ["report", "digits", "--watch", "1", "--socket", "s", "--results", str(written.results)]
    run = subprocess.Popen(
        [sys.executable, "-m", "cnn_sweep.cli.main", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert run.stdout.readline() == "digits-live/index.html\n", run.stderr.read()
        tunnel = run.stderr.readline()
        assert f"ssh -N -L 8000:{tmp_path / 's'} " in tunnel
        assert run.stderr.readline() == "digits is finished; its page is served until Ctrl-C\n"
        assert ask(tmp_path / "s", "/data.js")[2].startswith(b"receive(")
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == 0
    assert not (tmp_path / "s").exists()
    assert (tmp_path / "digits-live" / "data.js").is_file()


def test_a_socket_needs_a_page_that_is_renewed(written, tmp_path):
    """Without --watch there is no page to serve."""
    written.study(trials=2)
    words = ("report", "digits", "--socket", "s")
    done = typed_here(words, tmp_path, {"CNN_SWEEP_RESULTS": str(written.results)})
    assert done.returncode == 2
    assert "--socket is for --watch SECONDS" in done.stderr
