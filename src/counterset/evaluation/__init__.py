"""Evaluations: any model on any release, kept so that no photo is embedded twice, and the pictures made of them."""
