"""Ready questions: what was recorded, when a species was heard, which species were. See README.md."""
