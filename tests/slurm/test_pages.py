"""The tutorial for clusters can be followed."""

from helpers.pages import run_page


def test_the_tutorial_for_clusters_ends_with_a_leaderboard(cluster, tmp_path):
    """Whoever types what the tutorial says, on the dev cluster, gets a finished study."""
    run_page("tutorials/cluster.md", tmp_path, extra=cluster.environment, needs=("slurm",))
