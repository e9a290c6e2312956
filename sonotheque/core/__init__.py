"""The nouns: frozen dataclasses, ids, the error tree. Imports nothing of ours and no heavy library."""
