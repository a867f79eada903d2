"""Loaded by each Python process of a campaign, which has this folder on its path: replaces what trains, and mutates.

Modules of the package are replaced or changed where they are imported, so the package itself knows nothing of tests.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

_HERE = Path(__file__).parent
_REAL = "FAULTS_REAL" in os.environ  # real training on a tiny network
_REPLACED = {
    "cnn_sweep.execution.worker.study_trainer": "stub_trainer.py",
    "cnn_sweep.training.network.model": "stub_network.py",
    "cnn_sweep.training.engines.augment": "stub_network.py",
}


def _no_tensorflow(session):
    session.configure = session.import_tensorflow = lambda *_, **__: None


def _look_often(recorder):
    recorder._LOOK_EVERY_S = 0.3


def _merge_often(store_merges):
    store_merges._WHILE_TRAINING_S, store_merges._BETWEEN_TRIALS_S = 0.7, 0.4


class _Changed(SourceFileLoader):
    """Loads a module of the package and then changes it."""

    def exec_module(self, module):
        super().exec_module(module)
        for change in _CHANGES[self.name]:
            change(module)


class _Finder:
    """Finds replaced and changed modules before Python's own finders do."""

    @staticmethod
    def find_spec(name, path=None, _target=None):
        if name in _REPLACED and not _REAL:
            return spec_from_file_location(name, _HERE / _REPLACED[name])
        if name not in _CHANGES:
            return None
        spec = PathFinder.find_spec(name, path)
        spec.loader = _Changed(name, spec.origin)
        return spec


_CHANGES = {
    "cnn_sweep.execution.worker.recorder": [_look_often],
    "cnn_sweep.execution.worker.store_merges": [_merge_often],
}
if not _REAL:
    _CHANGES["cnn_sweep.training.session"] = [_no_tensorflow]
if mutant := os.environ.get("FAULTS_MUTANT"):
    import mutants

    for _module, _change in mutants.MUTANTS[mutant].items():
        _CHANGES.setdefault(_module, []).append(_change)
sys.meta_path.insert(0, _Finder)
