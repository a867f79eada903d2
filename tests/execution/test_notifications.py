"""Users are notified once that a study has ended, by command or web address; failures do not affect the study."""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from typing import Any

import pytest

from cnn_sweep.execution.pool.notifications import Notice, notice_of, notify
from cnn_sweep.execution.pool.progress import Pace, Progress
from cnn_sweep.journal.claims import Claims
from cnn_sweep.journal.identity import current
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.slurm.profile import Profile

NOTICE = Notice("digits", "finished", "digits is finished: 3 complete", {"complete": 3, "failed": 0}, (2, 0.9))


@pytest.fixture
def claims(tmp_path):
    """The claims of two processes of one study."""
    paths = StudyPaths(tmp_path / "results", "digits")
    paths.create()
    return [Claims(paths, writer, current()) for writer in ("one", "other")]


@pytest.fixture
def server():
    """A server on loopback that remembers what was posted; it answers as its ``code`` says."""
    found = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(one.code)
            self.end_headers()

        def log_message(self, *_):
            pass

    one: Any
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as one:
        one.code, one.found = 200, found
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_everybody_is_told_once(claims, server, tmp_path):
    """If two pools see the end, one notifies: the command receives text and JSON, the address JSON."""
    command = f'echo "$CNN_SWEEP_OUTCOME $CNN_SWEEP_STUDY: $CNN_SWEEP_TEXT" >> {tmp_path}/told; cat >> {tmp_path}/json'
    targets = [command, f"http://127.0.0.1:{server.server_port}/hook"]
    for own in claims:
        assert notify(NOTICE, targets, own, key="1-3") == []
    assert (tmp_path / "told").read_text(encoding="utf-8") == "finished digits: digits is finished: 3 complete\n"
    assert server.found == [json.loads((tmp_path / "json").read_text(encoding="utf-8"))] == [NOTICE.to_data()]
    assert server.found[0]["best"] == {"trial": 2, "value": 0.9}
    notify(NOTICE, targets, claims[0], key="2-6")  # the study was extended, and ended again
    assert len(server.found) == 2


def test_who_cannot_be_told_stops_nothing(claims, server):
    """A failing command and a refusing server give messages without the secret part of an address."""
    server.code = 403
    targets = ["echo no such mailer >&2; exit 7", f"http://127.0.0.1:{server.server_port}/secret"]
    first, second = notify(NOTICE, targets, claims[0], key="1-3")
    assert first.endswith("exit code 7: no such mailer")
    assert "HTTP 403" in second
    assert "secret" not in second
    assert len(server.found) == 1


def test_nobody_to_tell_claims_nothing(claims):
    """A run without targets leaves the telling to one that has some."""
    assert notify(NOTICE, [], claims[0], key="1-3") == []
    assert claims[1].claim_notice("finished-1-3")
    assert claims[1].taken() == set()  # it is no claim of a trial


def test_when_there_is_something_to_tell():
    """A study that is finished, or whose trials fail alike; not one that runs elsewhere or has trials left."""

    def progress(failing=None, **counts):
        return Progress(4, Counter(counts), 0, (1, 0.5), Pace(1.0, None), failing_alike=failing)

    assert (
        notice_of("s", progress(complete=3, failed=1)).text == "s is finished: 3 complete, 1 failed; best trial 1: 0.5"
    )
    assert notice_of("s", progress(complete=3, running=1)) is None
    assert notice_of("s", progress(complete=1, waiting=3)) is None
    failed = notice_of("s", progress("ValueError: no", failed=3, waiting=1))
    assert (failed.outcome, failed.text[:41]) == ("failed", "s cannot continue, its trials failed alik")


def test_a_profile_says_who_is_told():
    """One text or several."""
    assert Profile.parse('notify = "https://example.org/hook"').notify == ("https://example.org/hook",)
    assert Profile.parse('notify = ["mail -s done me", "true"]').notify == ("mail -s done me", "true")
