"""Reads the section ``when_finished`` of a sweep file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnn_sweep.messages import listed, show, unknown
from cnn_sweep.sweep.file.problems import validate_section
from cnn_sweep.sweep.spec.when_finished import STEPS, Step

if TYPE_CHECKING:
    from cnn_sweep.messages import KeyPath
    from cnn_sweep.sweep.file.problems import Problems
    from cnn_sweep.sweep.spec.data import DataSpec


def read_when_finished(top: Any, data: DataSpec | None, problems: Problems) -> tuple[Step, ...]:
    """Read ``when_finished``; a step that cannot be read becomes a problem and is left out."""
    value = top.get("when_finished", [])
    path: KeyPath = ("when_finished",)
    if not isinstance(value, list):
        problems.add(path, f"must be a list of {listed(STEPS)}, as in [finalize, report], not {show(value)}")
        return ()
    steps: list[Step] = []
    for index, entry in enumerate(value):
        step = _read_step(entry, (*path, index), problems)
        if step is None:
            continue
        if step in steps:
            problems.add((*path, index), f"{str(step)!r} is in the list twice")
        elif step.command == "finalize" and data is not None and not _may_have_test_images(data):
            problems.add((*path, index), "finalize needs a test set; add test: 0.2 to the data, or leave it out")
        steps.append(step)
    return tuple(steps)


def _read_step(entry: Any, path: KeyPath, problems: Problems) -> Step | None:
    name: Any = entry
    settings: Any = None
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, settings),) = entry.items()
    if not isinstance(name, str):
        problems.add(path, f"must be one of {listed(STEPS)}, as in {{finalize: {{top: 3}}}}, not {show(entry)}")
        return None
    if name not in STEPS:
        problems.add(path, unknown("command", name, list(STEPS)))
        return None
    spec = validate_section(STEPS[name], {} if settings is None else settings, (*path, name), problems)
    return None if spec is None else Step.of(name, spec)


def _may_have_test_images(data: DataSpec) -> bool:
    """Return whether a data set can have test images: by a share, files, a column, or the source's own ones."""
    if getattr(getattr(data, "labels", None), "split", None) is not None:
        return True
    return "test" not in type(data).model_fields or bool(getattr(data, "test"))  # noqa: B009 - not all sources have it
