"""The command line: `commands/` has a file for each command, `ui/` the terminal pieces that several of them share.

Results go to standard output, everything else to standard error.
"""
