"""What a run needs of its machine: places to write, and the end of all that it started."""
