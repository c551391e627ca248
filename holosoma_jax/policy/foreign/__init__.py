"""Policies that other projects exported: their metadata, names of terms, and what is said beside a file."""
