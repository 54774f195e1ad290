"""Files that exports copy into their folders: they run where counterset is not installed."""
