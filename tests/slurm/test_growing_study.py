"""A study that is extended while its only pool runs, and what follows its end, on a real cluster."""

SWEEP = """
study: growing
data: {source: digits, validation: 0.2, test: 0.2}
model: {layers: [{conv2d: {filters: $filters, kernel_size: 3}}, flatten, output: softmax]}
space: {filters: [2]}
search: {method: grid}
training: {epochs: 200, batch_size: 16}
when_finished: [leaderboard]
"""


def test_the_pool_of_a_running_study_trains_what_is_added_and_runs_what_follows(desk):
    """With a full queue nothing more is submitted; one notice has all trials, and `status` says what followed."""
    notify = f"notify = ['echo \"$CNN_SWEEP_TEXT\" >>{desk.folder}/told']\n"
    profile = desk.write("one.toml", f'time_limit = 10\nmemory = "1500M"\n{notify}')
    (job,) = desk.submit(desk.write("growing.yaml", SWEEP), profile)
    desk.cluster.until(lambda: desk.journaled("growing", b'"type":"epoch"'), 120, "the first trial to train")
    desk.write("growing.yaml", SWEEP.replace("[2]", "[2, 3]"))
    said = desk.type("submit", "growing.yaml", "--profile", profile, "--extend").stderr
    assert "2 trials with the new ones; nothing to submit, since it has 1 pool in the queue" in said
    desk.cluster.until(lambda: desk.journaled("growing", b'"outcome":"complete"'), 180, "what follows")
    desk.cluster.until(lambda: "RUNNING" not in desk.cluster.states(int(job)).values(), 60, "the pool to end")
    status = desk.status("growing")
    assert status["trials"]["complete"] == 2
    (followed,) = status["when_finished"]
    assert (followed["step"], followed["state"]) == ("leaderboard", "complete")
    told = (desk.folder / "told").read_text(encoding="utf-8").splitlines()
    assert [line.partition(";")[0] for line in told] == ["growing is finished: 2 complete"]
