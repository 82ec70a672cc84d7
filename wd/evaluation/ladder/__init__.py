"""The ladder: ways to make a student, compared at equal shape, data, updates and seed."""
