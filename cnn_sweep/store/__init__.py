"""The SQL database that is derived from all journals; all SQL of the package is here."""
