"""Long work beside a service: each job a process of its own, told of by a folder."""

from search_api.boards.board import Board
from search_api.boards.following import Followers
from search_api.boards.sources import Event

__all__ = ["Board", "Event", "Followers"]
