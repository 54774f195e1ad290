"""The kinds of sources: one file each, whose attribute `source` is a `counterset.sources.Source`."""
