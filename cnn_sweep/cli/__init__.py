"""The command line: each verb parses, calls and prints. Data goes to standard output, all else to standard error."""
