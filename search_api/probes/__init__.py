"""Probes of an archive: trained on its annotations, kept in versions, applied, reviewed, reported."""
