"""The training loop: iterations, logging, saving, resuming, warm starts and artifacts."""
