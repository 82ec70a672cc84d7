"""One training loop for teacher, generator and student; it knows nothing of Ray."""

LOOP_VERSION = 4
"""Raise it when the loop would make other weights of the same job, whatever is trained."""
WITHOUT_EFFECT = ("log_every", "max_skipped", "sharding", "deterministic")
"""These keys of a training config change nothing of what is trained.

The last two change the order of sums on several workers or on a GPU, as the number of workers and
the GPU itself do.
"""
