"""The command line: one module a verb, output in one place, no logic."""
