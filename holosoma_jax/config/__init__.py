"""Configuration: schema, presets, composition, command line."""
