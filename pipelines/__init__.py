"""The pipeline: its stages, the studies that compare many runs, tools, and the command line."""
