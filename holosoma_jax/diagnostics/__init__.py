"""What this machine can do: versions, devices, extras, simulators and a smoke run."""
