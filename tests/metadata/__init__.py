"""Changes of places, clocks and deployments after the fact."""
