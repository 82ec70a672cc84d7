"""What the project's processes are and what Ray reads from their environment; needs no Ray."""

PACKAGES = ("wd", "pipelines", "tune_spaces")
"""The packages that a job's processes import."""

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it would print every worker's line twice
    "RAY_COLOR_PREFIX": "0",
}
"""Environment variables of whoever starts Ray: a driver, a job, a node."""
