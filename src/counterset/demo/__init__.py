"""The embedded demo: a look-alike server, a generated world, models trained on it, and the truth about both."""
