"""Pictures of answers. See README.md."""

from search_api.plots.calendar import draw_summary
from search_api.plots.heat import draw_activity
from search_api.plots.matrix import SPECIES_MAX, draw_species
from search_api.plots.profile import draw_profile
from search_api.plots.style import require_picture

__all__ = ["SPECIES_MAX", "draw_activity", "draw_profile", "draw_species", "draw_summary", "require_picture"]
