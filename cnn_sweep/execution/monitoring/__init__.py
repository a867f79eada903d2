"""How far a study is, and notifications about it."""
