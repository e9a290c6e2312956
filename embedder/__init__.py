"""Audio → vectors: recorders' times and places, streaming decoding, the models, and the pipeline that joins them."""
