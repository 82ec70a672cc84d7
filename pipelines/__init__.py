"""One thin job per stage; each is a command and a `ray job submit` entry point."""
