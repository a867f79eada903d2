"""What people read: leaderboards and exports, from the store alone."""
