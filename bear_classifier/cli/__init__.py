"""The command line: one module for each command, their options, and what they print."""
