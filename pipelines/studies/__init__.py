"""Many runs compared: the ladder of methods, and the sweep over student shapes."""
