"""Models of other projects in, students in other projects' formats out."""
