"""Listening and looking: pieces of recordings as sound and as spectrograms, by id. See README.md."""

from search_api.listening.gallery import Gallery, Picture, Snippet
from search_api.listening.lookup import clip_piece, recording_piece, window_piece
from search_api.listening.pieces import HeldSound, Piece, RecordedSound
from search_api.listening.wishes import AudioWish, PictureWish

__all__ = [
    "AudioWish",
    "Gallery",
    "HeldSound",
    "Picture",
    "PictureWish",
    "Piece",
    "RecordedSound",
    "Snippet",
    "clip_piece",
    "recording_piece",
    "window_piece",
]
