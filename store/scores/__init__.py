"""What probes said of the windows: a derived dataset, one small file for each part and set of probes."""

from store.scores.held import HeldScores, Holding
from store.scores.reading import block_rows, score_blocks
from store.scores.sets import SCORE_FLOOR, ScoredProbe, ScoreSet, read_sets, require_floor
from store.scores.view import scores_select, scores_view
from store.scores.writer import ScoreWriter

__all__ = [
    "SCORE_FLOOR",
    "HeldScores",
    "Holding",
    "ScoreSet",
    "ScoreWriter",
    "ScoredProbe",
    "block_rows",
    "read_sets",
    "require_floor",
    "score_blocks",
    "scores_select",
    "scores_view",
]
