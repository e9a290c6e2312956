"""What other programs read: tables, embeddings and clips."""
