"""Probes: what learns from examples, and how well."""
