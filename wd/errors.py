"""Errors that are addressed to the user: what was wrong, where, and what to do."""


class UserError(Exception):
    """Something the user can mend. The command line prints it in one piece and exits with 2."""


class ConfigError(UserError):
    """A recipe, an override or a shape that breaks a rule."""


class DataError(UserError):
    """A corpus that is missing, misaligned, empty or not UTF-8."""


class ArtifactError(UserError):
    """An artifact, model directory or checkpoint that is missing, truncated or altered."""
