"""What a sweep found: the front, the ranking, what mattered, and the page that shows it."""
