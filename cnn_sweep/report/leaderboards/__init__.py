"""Leaderboards: trials filtered, sorted and grouped, and statistics over repeats."""
