"""Things that counterset does not have, each in a file of its own; pyproject.toml says their names."""
