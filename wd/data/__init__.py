"""Parallel text: reading, filtering, splitting, tokenizing, packing into batches."""
