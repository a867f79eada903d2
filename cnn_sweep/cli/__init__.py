"""The command line: each verb parses, calls and prints. Data goes to standard output, everything else to standard error."""
