"""Policies as files: ONNX export, loading, metadata and deployment checks."""
