"""Clusters that a run starts, follows and ends by itself. See README.md."""
