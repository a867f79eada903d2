"""The command line: `commands/` has a file for each command, `ui/` the parts that several commands share.

Results go to standard output, everything else to standard error.
"""
