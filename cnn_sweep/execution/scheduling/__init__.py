"""Which trial is trained next and with which parameters, and which trials are not tried again."""
