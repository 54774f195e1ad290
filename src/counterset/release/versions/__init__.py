"""Releases in their order: which is the last, where one lies, and what changed from one to the next."""
