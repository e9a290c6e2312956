"""The index: FAISS codes and memory-mapped vectors derived from a snapshot, and the search over them."""

from sonotheque.core.search import SearchAnswer, SearchHit, SearchPlan, SearchQuery
from store.index.build import build_index, tune_index, update_index
from store.index.info import IndexInfo, describe, read_info
from store.index.opening import open_index
from store.index.sampling import near_score, score_sample
from store.index.searching import SearchIndex
from store.index.wishes import IndexWishes, Recipe, plan_index

__all__ = [
    "IndexInfo",
    "IndexWishes",
    "Recipe",
    "SearchAnswer",
    "SearchHit",
    "SearchIndex",
    "SearchPlan",
    "SearchQuery",
    "build_index",
    "describe",
    "near_score",
    "open_index",
    "plan_index",
    "read_info",
    "score_sample",
    "tune_index",
    "update_index",
]
