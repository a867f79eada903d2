"""The program: its verbs in the order of its help, and how an error ends it.

Each verb's work is imported when it is typed, so that help answers at once.
"""

from __future__ import annotations

import os
import sys

import typer

from cnn_sweep import streams
from cnn_sweep.cli import (
    verbs_data,
    verbs_models,
    verbs_reading,
    verbs_report,
    verbs_running,
    verbs_search,
    verbs_store,
)
from cnn_sweep.errors import CnnSweepError, EnvironmentFault, Interrupted

app = typer.Typer(
    name="cnn-sweep",
    help="Hyperparameter sweeps of convolutional networks: on this machine or as Slurm array jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (
    verbs_running.run,
    verbs_running.submit,
    verbs_running.resume,
    verbs_running.repeat,
    verbs_running.plan,
    verbs_running.threads,
    verbs_reading.status,
    verbs_reading.leaderboard,
    verbs_reading.show,
    verbs_report.report,
    verbs_report.dashboard,
    verbs_models.finalize,
    verbs_models.confusion,
    verbs_models.misclassified,
    verbs_models.predict,
    verbs_models.activations,
    verbs_models.model,
    verbs_reading.sql,
    verbs_search.importance,
    verbs_reading.export,
    verbs_running.cancel,
    verbs_reading.logs,
    verbs_reading.doctor,
):
    app.command()(verb)
app.add_typer(verbs_data.app, name="data")
app.add_typer(verbs_store.app, name="store")
app.add_typer(verbs_search.importing, name="import")


def main() -> None:
    """Run a command; an error of the tree becomes one message and its exit code."""
    streams.for_people()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a reader that has gone is no surprise; at the exit it would be
    except CnnSweepError as error:
        print(f"cnn-sweep: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except UnicodeEncodeError as error:  # such a name of a file, since texts are in UTF-8
        if error.encoding != sys.getfilesystemencoding():
            raise
        name, cure = error.object, f"this locale's encoding is {error.encoding}; set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
        print(f"cnn-sweep: no file can be named {name!r}: {cure}", file=sys.stderr)
        sys.exit(EnvironmentFault.exit_code)
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
    except BrokenPipeError:  # the reader of our output, `head` perhaps, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
