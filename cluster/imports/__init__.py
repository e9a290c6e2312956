"""Stores from what other programs have computed: perch-cpu-inference, perch-hoplite."""
