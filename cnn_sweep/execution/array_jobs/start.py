"""The start of a pool's job: whoever can write its pickle decides what it runs, so the study is checked before.

Started as ``python -m cnn_sweep.execution.array_jobs.start``, followed by the arguments with which submitit starts
Python. A job may wait for days, so the check of the command that submitted it says little.
"""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

from cnn_sweep import streams
from cnn_sweep.errors import CnnSweepError
from cnn_sweep.journal.paths import StudyPaths
from cnn_sweep.journal.trust import check_study


def main() -> None:
    """Check the study and the pickle of this job, then let submitit run it.

    Raises:
        SystemExit: Others could put code into the study; one line in the job's log says where.
    """
    *_, module, folder = sys.argv
    streams.start_log()
    study = Path(folder).parent
    try:
        check_study(StudyPaths(study.parent, study.name))
    except CnnSweepError as error:
        logging.getLogger(__name__).critical("this pool cannot work: %s", error)
        sys.exit(error.exit_code)
    sys.argv[:] = [module, folder]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
