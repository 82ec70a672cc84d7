"""One training loop for teacher, generator and student; it knows nothing of Ray."""
