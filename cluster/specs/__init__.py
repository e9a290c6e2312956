"""Clusters as YAML files: what a file can say, how it is read, what would be started. See README.md."""
