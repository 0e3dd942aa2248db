"""Tracking: what runs log, shown where people look already: TensorBoard, W&B, MLflow, Trackio."""
