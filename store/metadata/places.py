"""What changes of sites add up to: followed through the names once a site, not once a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from store.metadata.change import SiteChange

_SCHEMA = {
    "site": pl.String,
    "_name": pl.String,
    "_zone": pl.String,
    "_latitude": pl.Float64,
    "_longitude": pl.Float64,
    "_read": pl.Boolean,
    "_pin_own": pl.Boolean,
    "_pin": pl.String,
}


@dataclass(slots=True)
class _Fate:
    """What becomes of the recordings of one site.

    ``pin_own``, ``pin``: UTC is to stay as it follows from the zone of before, the recordings' own or a said one.
    """

    name: str
    zone: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    read: bool = False
    pin_own: bool = False
    pin: str | None = None

    def follow(self, change: SiteChange) -> None:
        """Apply one change, which is about this site."""
        if change.latitude is not None:
            self.latitude, self.longitude = change.latitude, change.longitude
        if change.zone is not None:
            if change.keep == "clock":
                self.read, self.pin_own, self.pin = True, False, None
            elif change.keep == "instant":
                self.pin_own = self.pin_own or self.zone is None
                self.pin = self.pin or self.zone
            self.zone = change.zone
        self.name = change.rename or self.name


def take_sites(frame: pl.DataFrame, changes: Sequence[SiteChange]) -> tuple[pl.DataFrame, list[int]]:
    """Apply changes of sites, in their order.

    Parameters
    ----------
    frame : DataFrame
        With ``site, zone, latitude, longitude, _clock_zone, _reading``.
    changes : sequence of SiteChange

    Returns
    -------
    frame : DataFrame
    concerned : list of int
        For each change, the recordings of the site that it is about.
    """
    counts = dict(frame.group_by("site").len().rows())
    fates = {site: _Fate(site) for site in counts}
    concerned = []
    for change in changes:
        meant = [site for site, fate in fates.items() if fate.name == change.site]
        concerned.append(sum(counts[site] for site in meant))
        for site in meant:
            fates[site].follow(change)
    rows = [
        (site, f.name, f.zone, f.latitude, f.longitude, f.read, f.pin_own, f.pin)
        for site, f in fates.items()
        if f != _Fate(site)
    ]
    if not rows:
        return frame, concerned
    said = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    joined = frame.join(said, on="site", how="left", maintain_order="left")
    pinned = pl.when(pl.col("_pin_own")).then(pl.coalesce("zone", "_pin")).otherwise(pl.col("_pin"))
    joined = joined.with_columns(
        site=pl.coalesce("_name", "site"),
        latitude=pl.coalesce("_latitude", "latitude"),
        longitude=pl.coalesce("_longitude", "longitude"),
        _clock_zone=pl.coalesce("_clock_zone", pinned),
        _reading=pl.col("_reading") | pl.col("_read").fill_null(False),
        zone=pl.coalesce("_zone", "zone"),
    )
    return joined.select(frame.columns), concerned
