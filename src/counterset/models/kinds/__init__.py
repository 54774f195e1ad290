"""One kind of model per file: what its names begin with, and how one is opened (`counterset.models.door`)."""
