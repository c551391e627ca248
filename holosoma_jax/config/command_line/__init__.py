"""Command lines: tokens, overrides of keys, flags of commands, and the help page."""
