"""Helpers behind the notebooks: make an open model talk like one person, and measure whether it does."""
