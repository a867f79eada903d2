"""The repository of a sweep file is described without running anything that it names."""

from __future__ import annotations

import subprocess

import pytest

from cnn_sweep.execution.study.git_state import changed_files, git_state


def _git(folder, *words):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *who, "-C", folder, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """A repository with a sweep in a folder, and changes since its commit."""
    folder = tmp_path / "project" / "sweeps"
    folder.mkdir(parents=True)
    for name in ("a.yaml", "net.py", ".env", "profile.toml", "../other.py"):
        (folder / name).write_text("x = 1\n", encoding="utf-8")
    _git(tmp_path / "project", "init", "-q")
    _git(tmp_path / "project", "add", "-A")
    _git(tmp_path / "project", "commit", "-qm", "first")
    for name in ("a.yaml", "net.py", ".env", "profile.toml", "../other.py"):
        (folder / name).write_text("x = 2\nAPI_TOKEN = 'abcdefgh1'\n", encoding="utf-8")
    return folder


def test_a_state_has_the_commit_the_changed_names_and_the_changes_of_the_sweeps_own_code(repository):
    """All that changed is named; the text is that of Python and sweep files beside the sweep, without secrets."""
    state = git_state(repository)
    assert len(state["sha"]) == 40
    assert sorted(state["changed"]) == [
        "other.py",
        "sweeps/.env",
        "sweeps/a.yaml",
        "sweeps/net.py",
        "sweeps/profile.toml",
    ]
    assert [line for line in state["diff"].splitlines() if line.startswith("+++")] == [
        "+++ b/sweeps/a.yaml",
        "+++ b/sweeps/net.py",
    ]
    assert "+x = 2" in state["diff"]
    assert "abcdefgh1" not in state["diff"]


def test_the_names_of_changed_files_are_read_from_studies_of_earlier_versions():
    """Earlier versions recorded the differences of the whole repository, and no names."""
    diff = 'diff --git a/a b.py b/a b.py\n--- a/a b.py\ndiff --git "a/\\303.py" "b/\\303.py"\n'
    assert changed_files({"sha": "1", "diff": diff}) == ["a b.py", "\\303.py"]
    assert changed_files({"sha": "1", "diff": None}) == []


def test_outside_a_repository_nothing_is_known(tmp_path, monkeypatch):
    """A folder outside any repository has no state."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == {"sha": None, "changed": None, "diff": None}


_SETTINGS = {
    "core.fsmonitor": "{}",
    "diff.external": "{}",
    "diff.x.textconv": "{}",
    "diff.x.command": "{}",
    "filter.x.clean": "{}",
    "filter.x.process": "{}",
    "core.pager": "{}",
    "pager.diff": "{}",
    "core.hooksPath": "{}.hooks",
    "core.sshCommand": "{}",
    "core.alternateRefsCommand": "{}",
}


@pytest.fixture
def trap(tmp_path):
    """A program that leaves a mark wherever it is run."""
    mark, program = tmp_path / "mark", tmp_path / "trap"
    program.write_text(f'#!/bin/sh\necho "$0" >>{mark}\ncat\n', encoding="utf-8")
    program.chmod(0o755)
    hooks = tmp_path / "trap.hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).symlink_to(program)
    return program, mark


def _trapped(folder, program):
    """Let a repository name a program wherever git has a place for one."""
    for name, value in _SETTINGS.items():
        _git(folder, "config", name, value.format(program))
    (folder / ".gitattributes").write_text("* diff=x filter=x\n", encoding="utf-8")


def test_nothing_that_a_repository_names_is_run(repository, trap):
    """Monitors, hooks, filters, converters and viewers in a repository's settings do not run; its state is read."""
    program, mark = trap
    _trapped(repository, program)
    subprocess.run(["git", "-C", repository, "diff", "HEAD"], check=False, capture_output=True)
    assert mark.exists(), "the trap works"
    mark.unlink()
    state = git_state(repository)
    assert not mark.exists(), mark.read_text(encoding="utf-8")
    assert "sweeps/net.py" in state["changed"]
    assert "+x = 2" in state["diff"]


def test_nothing_that_a_submodule_names_is_run(repository, trap, tmp_path):
    """The settings of a submodule name programs, too."""
    program, mark = trap
    inner = tmp_path / "inner"
    inner.mkdir()
    _git(inner, "init", "-q")
    (inner / "f.py").write_text("1\n", encoding="utf-8")
    _git(inner, "add", "-A")
    _git(inner, "commit", "-qm", "first")
    _git(repository.parent, "submodule", "add", "-q", str(inner), "sub")
    _git(repository.parent, "commit", "-qm", "second")
    _trapped(repository.parent / "sub", program)
    (repository.parent / "sub" / "f.py").write_text("2\n", encoding="utf-8")
    mark.unlink(missing_ok=True)
    git_state(repository)
    assert not mark.exists(), mark.read_text(encoding="utf-8")


def test_a_repository_that_lacks_objects_fetches_nothing(repository, trap):
    """A partial clone names the program by which git would fetch missing objects; it is not run."""
    program, mark = trap
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.url": f"ext::{program}",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
    }.items():
        _git(repository, "config", name, value)
    for one in (repository.parent / ".git" / "objects").glob("??/*"):
        one.unlink()
    git_state(repository)
    assert not mark.exists()


def test_the_environment_cannot_name_another_repository_or_program(repository, trap, monkeypatch, tmp_path):
    """GIT_DIR, GIT_EXTERNAL_DIFF and the like are not passed on, as when a git hook starts the sweep."""
    program, mark = trap
    for name in ("GIT_EXTERNAL_DIFF", "GIT_PAGER", "GIT_SSH_COMMAND"):
        monkeypatch.setenv(name, str(program))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert git_state(repository)["sha"]
    assert not mark.exists()


def test_large_changes_are_cut(repository):
    """A diff of hundreds of megabytes does not fill memory or provenance."""
    (repository / "a.yaml").write_text("y\n" * 300_000, encoding="utf-8")
    assert len(git_state(repository)["diff"]) < 300_000


def test_a_git_that_does_not_answer_is_left(repository, monkeypatch, tmp_path):
    """Git has a time limit, as on a file system that hangs."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    monkeypatch.setattr("cnn_sweep.execution.study.git_state._PATIENCE_S", 0.2)
    assert git_state(repository)["sha"] is None
