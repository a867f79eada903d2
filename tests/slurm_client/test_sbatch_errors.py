import pytest

from cnn_sweep.errors import EnvironmentFault, SweepFileError
from cnn_sweep.slurm.profile import Profile
from cnn_sweep.slurm.sbatch_errors import sbatch_error

PROFILE = Profile.parse(
    """partition = "nope"
account = "acct"
qos = "fast"
time_limit = 90
cpus = 40
memory = "900G"
gres = "tpu:1"
constraint = "x"
exclude = "n9"
array_width = 20
[sbatch]
foo = 1
reservation = "r"
mail-type = "often"
dependency = "afterok:1"
""",
    source="p.toml",
)
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize(
    ("words", "line", "key"),
    [
        ("invalid partition specified: nope", 1, "partition"),
        ("Batch job submission failed: Invalid partition name specified", 1, "partition"),
        ("Batch job submission failed: Invalid account or account/partition combination specified", 2, "account"),
        ("Batch job submission failed: Invalid qos specification", 3, "qos"),
        (f"QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: {POLICY}", 4, "time_limit"),
        (
            "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
            4,
            "time_limit",
        ),
        (f"QOSMaxCpuPerJobLimit\nsbatch: error: Batch job submission failed: {POLICY}", 5, "cpus"),
        ("CPU count per node can not be satisfied", 5, "cpus"),
        ("Memory specification can not be satisfied\nsbatch: error: Requested node configuration is not", 6, "memory"),
        ("Invalid --mem specification", 6, "memory"),
        ("Invalid generic resource (gres) specification", 7, "gres"),
        ("Batch job submission failed: Requested node configuration is not available", 7, "gres"),
        ("Batch job submission failed: Invalid feature specification", 8, "constraint"),
        ("Batch job submission failed: Invalid node name specified", 9, "exclude"),
        (f"AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: {POLICY}", 10, "array_width"),
        ("Batch job submission failed: Invalid job array specification", 10, "array_width"),
        ("unrecognized option '--foo=1'", 12, "sbatch.foo"),
        ("Batch job submission failed: Requested reservation is invalid", 13, "sbatch.reservation"),
        ("Invalid --mail-type specification", 14, "sbatch.mail-type"),
        ("Batch job submission failed: Job dependency problem", 15, "sbatch.dependency"),
        ("Something new", 0, ""),
        (f"Batch job submission failed: {POLICY}", 0, ""),
    ],
)
def test_what_sbatch_refuses_is_shown_at_the_line_that_caused_it(words, line, key):
    """Sbatch's own words stand at the profile's line."""
    error = sbatch_error(f"sbatch: error: {words}", PROFILE)
    assert isinstance(error, SweepFileError)
    (problem,) = error.problems
    assert (problem.line, problem.where) == (line, key)
    assert " ".join(words.split("\n")[0].split()) in problem.message
    assert "sbatch: error" not in problem.message


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: fatal: Could not establish a configuration source",
    ],
)
def test_a_cluster_out_of_order_is_not_blamed_on_the_profile(words):
    """Nothing in the profile can mend a controller that does not answer."""
    assert isinstance(sbatch_error(words, PROFILE), EnvironmentFault)
