"""What this machine has for training: versions, devices, extras, simulators, and a smoke run."""
