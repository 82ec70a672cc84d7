"""The command line: arguments in, a stage, study or tool called, figures printed."""
