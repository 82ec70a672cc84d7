"""One thin file per stage: a function of a run that returns the artifact it makes or finds."""
