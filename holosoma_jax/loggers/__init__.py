"""Where a run's numbers go: the terminal, metrics.jsonl, TensorBoard, Weights & Biases."""
