"""The annotation methods: one file each, with a `method`."""
