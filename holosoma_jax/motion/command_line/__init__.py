"""`python -m holosoma_jax.motion`: its flags and what its subcommands do."""
