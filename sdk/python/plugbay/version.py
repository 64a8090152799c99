"""The version of this package. Alone in its file, because both the runner and authors ask for it."""

__version__ = "0.1.0"
