"""Steps: each reads files, calls one stage and writes files. No Prefect here."""
