"""The use cases: what a user asks of an archive, free of any web framework and of the command line."""
