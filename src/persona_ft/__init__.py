"""Helpers behind the notebooks: make an open model talk like one person, and measure whether it does."""

__version__ = "0.1.0"
