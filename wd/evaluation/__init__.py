"""Evaluation: quality, significance, speed, and the report that holds them side by side."""
