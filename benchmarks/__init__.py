"""Measurements: speed beside peers, sample efficiency, what the presets reach, and the pages that show them."""
