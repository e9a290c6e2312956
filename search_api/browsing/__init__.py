"""What an archive holds, page by page: windows, recordings, sites, labels, predictions and scores as plain JSON values."""
