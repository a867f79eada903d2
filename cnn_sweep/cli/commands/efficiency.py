"""``efficiency``: compares what a study's jobs asked for with what they used."""

from __future__ import annotations

from cnn_sweep.cli.ui.options import RESULTS, Format, Results, StudyName, TableFormat
from cnn_sweep.cli.ui.studies import open_merged
from cnn_sweep.cli.ui.tables import print_formatted, print_table
from cnn_sweep.cli.ui.terminal import print_words
from cnn_sweep.messages import plural
from cnn_sweep.report.efficiency import efficiency_table, study_usage
from cnn_sweep.slurm.commands import SlurmCli


def efficiency(study: StudyName, output: Format = TableFormat.table, results: Results = RESULTS) -> None:
    """Compare what the jobs of a study asked for with what they used, and name the profile lines to change.

    Processor time, memory, GPUs, energy and time in the queue come from Slurm's accounting (sacct); the journals know
    how workers spent their time.

    Examples:
      cnn-sweep efficiency digits
      cnn-sweep efficiency digits --format csv
    """
    found = open_merged(results, study)
    with found.store:
        usage = study_usage(found.store, study, SlurmCli())
    table = efficiency_table(usage)
    if output != "table":
        print_formatted(table, output)
        return
    if usage.runs:
        print_words(f"{study}: {plural(len(usage.runs), 'run')} of jobs on cluster {usage.runs[0].cluster}")
    print_table(table)
    for note in table.notes:
        print_words(f"{note}.")
    if lines := [str(row["profile"]) for row in table.rows if row["profile"]]:
        print_words(f"Change in {usage.profile}: {'; '.join(lines)}.")
