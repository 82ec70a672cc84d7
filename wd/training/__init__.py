"""One training loop for teacher, generator and student; it knows nothing of Ray."""

LOOP_VERSION = 4
"""Raise it when the loop would make other weights of the same job, whatever is trained."""
WITHOUT_EFFECT = ("log_every", "max_skipped")
"""These keys of a training config change nothing of what is trained."""
