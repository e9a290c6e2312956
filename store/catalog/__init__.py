"""The catalog: derived tables that answer questions of place, time and class; always rebuildable. See README.md."""

from store.catalog.manifest import Manifest, Unit, UnitFault
from store.catalog.opening import Catalog, open_catalog
from store.catalog.sweeping import sweep

__all__ = ["Catalog", "Manifest", "Unit", "UnitFault", "open_catalog", "sweep"]
