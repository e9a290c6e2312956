"""Tables that other programs read: predictions and embeddings of a store as files."""

from store.formats.audacity import write_audacity
from store.formats.csv_tables import chosen_columns, write_birdnet_csv, write_kaleidoscope, write_tidy
from store.formats.detections import Detections, Facts, Written
from store.formats.pamdp import write_pamdp
from store.formats.parquet import write_birdnet_parquet, write_parquet
from store.formats.plain import write_plain_csv
from store.formats.raven import write_raven, write_raven_combined

__all__ = [
    "Detections",
    "Facts",
    "Written",
    "chosen_columns",
    "write_audacity",
    "write_birdnet_csv",
    "write_birdnet_parquet",
    "write_kaleidoscope",
    "write_pamdp",
    "write_parquet",
    "write_plain_csv",
    "write_raven",
    "write_raven_combined",
    "write_tidy",
]
