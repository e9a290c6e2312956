"""Where else does it occur: from a clip, a window or a vector to hits, pictures and clips."""
