"""The encoder-decoder Transformer, its directory on disk and its sizes."""
