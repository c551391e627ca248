"""Modules as a user writes them: they import the package, and nothing in the package knows them."""
