"""Looks at a machine before a study does: ``doctor``, and the speed of each division of its cores."""
