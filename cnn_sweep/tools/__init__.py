"""Programs that examine a machine before a study runs there: ``doctor``, and training speed per number of threads."""
