"""Making a release: its tables, its pages and its folder, from the stages' tables."""
