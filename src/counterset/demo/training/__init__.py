"""The demo's models: what each learns from, its training, and its true accuracy. Nothing else in the demo needs it."""
