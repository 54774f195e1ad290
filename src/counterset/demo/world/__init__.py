"""The generated world: how photos are drawn, and who observed what."""
