"""Joins embedder and store under Dask: plan, tasks, job folders. See README.md."""
