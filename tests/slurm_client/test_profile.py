from pathlib import Path

import pytest

from cnn_sweep.errors import InputError, Problem, SweepFileError
from cnn_sweep.slurm.profile import Profile, Retry

EXAMPLES = sorted((Path(__file__).parents[2] / "slurm").glob("*.toml"))


def messages(text: str) -> list[str]:
    """Read a profile that is wrong, and return what is said about it."""
    with pytest.raises(SweepFileError) as caught:
        Profile.parse(text, source="cluster.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_profiles_are_valid(path):
    """Each profile that comes with the project can be read."""
    assert Profile.load(path).time_limit > 0


def test_there_are_the_promised_examples():
    """A profile for CPUs, one for GPUs and one for the dev cluster come with the project."""
    assert {"cpu.toml", "gpu.toml", "dev.toml"} <= {path.name for path in EXAMPLES}


@pytest.mark.parametrize("path", [e for e in EXAMPLES if e.name != "dev.toml"], ids=lambda path: path.name)
def test_what_the_examples_leave_out_is_valid_too(path):
    """The lines that an example has as comments are valid settings once they are uncommented."""
    uncommented = [line.removeprefix("# ") for line in path.read_text(encoding="utf-8").splitlines()]
    Profile.parse("\n".join(line for line in uncommented if " = " in line or line.startswith("[")))


def test_an_empty_profile_has_the_defaults():
    """A profile that says nothing asks for one task of one CPU for an hour."""
    profile = Profile.parse("")
    assert (profile.cpus, profile.array_width, profile.time_limit, profile.memory) == (1, 1, 60, None)
    assert profile.retry == Retry(infrastructure=3, exception=0, out_of_memory=1)


@pytest.mark.parametrize(
    ("written", "minutes"),
    [
        ("90", 90),
        ('"90"', 90),
        ('"1:30:00"', 90),
        ("01:30:00", 90),
        ('"2-12"', 3600),
        ('"1-0:30"', 1470),
        ('"0:30"', 1),
    ],
)
def test_time_limit_is_written_in_minutes_or_as_slurm_does(written, minutes):
    """Minutes and each of Slurm's notations, with and without quotes, mean the same limit."""
    assert Profile.parse(f"time_limit = {written}\nsignal_delay_s = 5").time_limit == minutes


@pytest.mark.parametrize(("written", "mb"), [("4000", 4000), ('"8G"', 8192), ('"1.5GB"', 1536), ('"1T"', 1048576)])
def test_memory_is_written_in_mb_or_with_a_unit(written, mb):
    """A number is MB, as it is for sbatch; a unit can be given."""
    assert Profile.parse(f"memory = {written}").memory == mb


def test_unknown_key_lists_the_valid_ones_and_the_nearest():
    """A key that is misspelt is reported with its line, the likely meaning and all keys."""
    (message,) = messages('# mine\n\npartitions = "main"\n')
    assert message.startswith("cluster.toml:3: partitions: unknown key 'partitions'")
    assert "did you mean 'partition'?" in message
    assert "valid: partition, account, qos, time_limit" in message


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file():
    """One reading finds every mistake, each with its own line."""
    found = messages(
        """
partition = 3
cpus = "four"
memory = "8 gigabytes"
time_limit = "tomorrow"
setup = [
    "a = b",
    7,
]
[retry]
infrastructure = -1
exceptions = 2
[sbatch]
output = "log"
"""
    )
    assert [message.split(":")[1] for message in found] == ["2", "3", "4", "5", "6", "11", "12", "13"]
    assert [message.split(": ")[1] for message in found][:3] == ["partition", "cpus", "memory"]
    assert "must be text, not 3" in found[0]
    assert "must be a whole number, not 'four'" in found[1]
    assert "'8 gigabytes' is not an amount of memory" in found[2]
    assert "hours:minutes:seconds" in found[3]
    assert "did you mean 'exception'" in found[6]
    assert "output cannot be set" in found[7]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cpus = 0", "at least 1"),
        ("cpus = true", "whole number"),
        ("array_width = -3", "at least 1"),
        ("requeue = 1", "true or false"),
        ('locks = "honets"', "did you mean 'honest'"),
        ("gpus_per_node = 0", "a number of GPUs"),
        ('gpus_per_node = "two"', "a100:2"),
        ('gres = "gpu:a100:1:2"', "gpu:a100:1"),
        ("setup = 3", "list of texts"),
        ('environment = {"1X" = "a"}', "not a name of an environment variable"),
        ("environment = {X = true}", "text or a number"),
        ("sbatch = {mem-per-cpu = [1]}", "text, a number or true"),
        ("sbatch = {hold = false}", "text, a number or true"),
        ('sbatch = {"--partition" = "x"}', "its own key in a profile: partition"),
        ("sbatch = {cpus_per_task = 2}", "its own key in a profile: cpus"),
        ('partition = ""', "partition"),
        ("retry = 3", "mapping with the keys infrastructure"),
        ("retry = {memory_factor = 0.5}", "at least 1"),
        ("signal_delay_s = 3600", "not within the time limit of 60 min"),
        ("workers_per_task = 4\ncpus = 2", "4 workers of 1 thread do not fit on 2 cpus"),
        ("workers_per_task = 2\ncpus = 4\nthreads = 3", "2 workers of 3 threads do not fit on 4 cpus"),
        ('gres = "gpu:1"\ngpus_per_node = 1', "requested twice"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_possible(line, words):
    """Each value that cannot be meant is refused with the value and the choices."""
    (message,) = messages(line)
    assert words in message
    assert message.startswith("cluster.toml:")


def test_a_text_that_is_not_toml_is_reported_with_its_line():
    """What the TOML reader refuses is shown as file, line and reason."""
    (message,) = messages('partition = "main"\ncpus = \n')
    assert message.startswith("cluster.toml:2: ")
    assert "not valid TOML" in message
    (twice,) = messages("cpus = 1\ncpus = 2\n")
    assert twice.startswith("cluster.toml:2: ")


def test_settings_reach_sbatch_and_the_workers_as_they_are_meant():
    """Options of sbatch get their own spelling, variables become texts."""
    profile = Profile.parse(
        '[sbatch]\nmail_type = "FAIL"\n"--reservation" = "r"\nexclusive = true\n[environment]\nOMP_NUM_THREADS = 2\n'
    )
    assert profile.sbatch == {"mail-type": "FAIL", "reservation": "r", "exclusive": True}
    assert profile.environment == {"OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("line", "resources", "gpus"),
    [
        ("gpus_per_node = 2", {"gpu": 2}, 2),
        ('gpus_per_node = "a100:2"', {"gpu:a100": 2}, 2),
        ('gres = "gpu:a100:1,lustre:1"', {"gpu:a100": 1, "lustre": 1}, 1),
        ('gres = "gpu"', {"gpu": 1}, 1),
        ("", {}, 0),
    ],
)
def test_gpus_are_counted_however_they_are_asked_for(line, resources, gpus):
    """Both ways to ask for GPUs give the same numbers."""
    profile = Profile.parse(line)
    assert (profile.generic_resources, profile.gpus) == (resources, gpus)


def test_a_worker_has_one_thread_unless_the_profile_says_otherwise():
    """The number of CPUs does not change it, since results would change with it."""
    assert Profile.parse("cpus = 9\nworkers_per_task = 2").worker_threads == 1
    assert Profile.parse("cpus = 9\nworkers_per_task = 2\nthreads = 4").worker_threads == 4


def test_a_key_is_found_again_for_later_messages(tmp_path):
    """A setting that the cluster refuses can be shown with its file and line."""
    path = tmp_path / "my.toml"
    path.write_text('cpus = 2\n[retry]\ninfrastructure = 1\n[sbatch]\nreservation = "r"\n', encoding="utf-8")
    profile = Profile.load(path)
    assert profile.source == str(path)
    assert profile.problem("cpus", "too many") == Problem(1, "cpus", "too many")
    assert profile.problem("sbatch.reservation", "none").line == 5
    nowhere = profile.problem("partition", "none")
    assert nowhere == Problem(0, "partition", "partition (not in the profile): none")


def test_a_missing_profile_names_those_that_are_there(tmp_path):
    """A path that does not exist is answered with the profiles beside it."""
    (tmp_path / "gpu.toml").touch()
    with pytest.raises(InputError, match=r"there is no profile .*gpus\.toml.*did you mean 'gpu.toml'\?"):
        Profile.load(tmp_path / "gpus.toml")


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path):
    """A folder, or bytes that are no text, end in one clear message."""
    with pytest.raises(InputError, match="cannot be read"):
        Profile.load(tmp_path)
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        Profile.load(tmp_path / "a.toml")
