"""Measurements, each with the command that reproduces it; results in ``results/``. Not part of the installed package."""
