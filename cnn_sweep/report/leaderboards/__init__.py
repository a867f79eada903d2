"""Leaderboards: rows of the store, filtered, sorted, grouped, with what repeats say of them."""
