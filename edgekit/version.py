"""The version, for those who must not import the package with all that it offers."""

__version__ = "0.1.0"
