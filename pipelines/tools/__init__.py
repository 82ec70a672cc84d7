"""What works on a recipe or a finished model without a run."""
