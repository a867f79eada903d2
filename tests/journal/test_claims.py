from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import replace

import pytest

from cnn_sweep.errors import EnvironmentFault, StudyError
from cnn_sweep.journal import claims as module
from cnn_sweep.journal.claims import Claims


@pytest.fixture
def pair(paths, me):
    """Two workers' views of one study's claims."""
    return Claims(paths, "first", me), Claims(paths, "second", replace(me, pid=me.pid + 1))


def test_an_attempt_is_claimed_once(pair):
    """The first process gets the claim; the second one learns who owns it."""
    first, second = pair
    assert first.claim(17, 0)
    assert not second.claim(17, 0)
    assert second.owner(17, 0).writer == "first"
    assert second.claim(17, 1)
    assert first.taken() == {(17, 0), (17, 1)}


def test_a_claim_whose_answer_was_lost_is_ones_own(pair):
    """A process that finds its own name on a claim owns it: the request arrived, but the answer was lost."""
    first, _ = pair
    assert first.claim(3, 0)
    assert first.claim(3, 0)


def test_a_claim_names_its_process(pair, me):
    """The claim names its process, even before any event, so that dead workers can be found."""
    first, _ = pair
    first.claim(3, 0)
    assert first.owner(3, 0).identity == me
    assert first.owner(4, 0) is None


def test_claims_cost_names_and_no_files(pair, paths):
    """All claims of a worker are links to one file."""
    first, _ = pair
    for trial in range(20):
        first.claim(trial, 0)
    assert len({paths.claim(trial, 0).stat().st_ino for trial in range(20)}) == 1


def test_one_process_submits_at_a_time(pair, paths):
    """The second one learns who submits; it may when the first has ended, however it ended."""
    first, second = pair
    with first.submission(), pytest.raises(StudyError, match=r"is being submitted by process \d+ on .*"):
        second._claim_submission()
    with suppress(ZeroDivisionError), first.submission():
        raise ZeroDivisionError
    with second.submission():
        assert paths.submission_claims() == [0]
    assert paths.submission_claims() == []


def test_a_submission_of_a_dead_process_is_passed_over(pair, paths, me):
    """Its claim stays, because a late process could remove that of another one; the next number is claimed."""
    _, second = pair
    Claims(paths, "dead", replace(me, started=me.started - 1))._claim(paths.submission_claim(0))
    with second.submission():
        assert paths.submission_claims() == [0, 1]
    assert paths.submission_claims() == [0]


def test_a_submission_on_a_machine_that_cannot_be_asked_is_left_alone(pair, paths, me):
    """The message says what to remove if its process is gone."""
    first, _ = pair
    away = replace(me, host="login2", boot_id="another")
    Claims(paths, "away", away)._claim(paths.submission_claim(0))
    with pytest.raises(StudyError, match=r"process \d+ on login2 .*If that process is gone, remove .*submission-0"):
        first._claim_submission()
    paths.submission_claim(0).write_text("", encoding="utf-8")  # damaged
    with pytest.raises(StudyError, match=r"another process .*remove .*submission-0"):
        first._claim_submission()


def test_a_removed_study_is_not_submitted(pair, paths):
    """The command that created it was refused and removed it at this moment."""
    shutil.rmtree(paths.folder)
    with pytest.raises(StudyError, match="was removed by another command"), pair[0].submission():
        pass


def test_a_file_with_too_many_links_gets_a_successor(pair, paths, monkeypatch):
    """ext4 allows 65,000 links to a file; the claim after that goes to a new one of the same owner."""
    first, second = pair
    real = os.link

    def link(source, target):
        if source.stat().st_nlink > 2:
            raise OSError(errno.EMLINK, "Too many links")
        real(source, target)

    monkeypatch.setattr(module.os, "link", link)
    assert all(first.claim(trial, 0) for trial in range(7))
    assert all(first.owner(trial, 0).writer == "first" for trial in range(7))
    assert not any(second.claim(trial, 0) for trial in range(7))


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_where_hard_links_are_refused_claims_are_files(pair, paths, monkeypatch, code):
    """On file systems without hard links an exclusively created file does the same."""

    def refuse(source, target):
        raise OSError(code, "no links here")

    monkeypatch.setattr(module.os, "link", refuse)
    first, second = pair
    assert first.claim(1, 0)
    assert first.claim(1, 0)
    assert not second.claim(1, 0)
    assert second.owner(1, 0).writer == "first"
    assert paths.claim(1, 0).stat().st_nlink == 1


def test_an_empty_claim_belongs_to_nobody_yet(pair, paths):
    """A claim whose owner is not written yet is taken, but has no known owner."""
    first, _ = pair
    paths.claim(5, 0).touch()
    assert not first.claim(5, 0)
    assert first.owner(5, 0).writer is None
    assert first.owner(5, 0).identity is None


def test_a_claim_that_could_not_be_written_is_given_back(pair, paths, monkeypatch):
    """A full disk leaves no claim without an owner."""
    first, _ = pair

    def refuse(source, target):
        raise OSError(errno.EPERM, "no links here")

    first.claim(0, 0)
    monkeypatch.setattr(module.os, "link", refuse)

    def full(fd, data):
        os.close(fd)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_all", full)
    with pytest.raises(EnvironmentFault, match=r"claims/6\.0: cannot claim the trial: No space left"):
        first.claim(6, 0)
    assert (6, 0) not in first.taken()


def test_what_is_no_claim_is_not_listed(pair, paths):
    """Owners' files and strangers do not count as claims."""
    first, _ = pair
    first.claim(1, 0)
    (paths.claims / "README").touch()
    (paths.claims / ".1.0.swp").touch()
    assert first.taken() == {(1, 0)}


def test_a_missing_folder_is_named(pair, paths):
    """Without the folder of claims, the message has the path that could not be created, and the reason."""
    first, _ = pair
    for file in paths.claims.iterdir():
        file.unlink()
    paths.claims.rmdir()
    with pytest.raises(EnvironmentFault, match=r"claims/1\.0: cannot claim the trial: No such file"):
        first.claim(1, 0)
