"""Tasks, one module each, with a record `TASK`."""
