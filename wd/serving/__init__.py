"""Models behind an HTTP address, side by side in a web page."""
