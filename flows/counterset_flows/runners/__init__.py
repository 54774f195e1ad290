"""Where tasks run: one file per runner, with `start`, which gives a started `counterset_flows.pool.Pool`.

A runner changes no byte of a release, for a batch is one thread's work wherever it is computed (`models.batches`).
`counterset.config_sections.RUNNERS` knows their names without importing Prefect; another package adds one by an entry
point of the group `counterset.runners`.
"""
