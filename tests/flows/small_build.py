"""The config of a small build, for tests that add their own first lines to it."""

SMALL_SETTINGS = """
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
[annotate]
vocabulary = "demo"
[evaluate]
label_space = "classes"
[select]
min_photos = 2
min_units = 2
[publish]
thumbnails_per_group = 2
"""
"""All that does not say where photos come from."""

SMALL_BUILD = (
    """
[classes]
list = "demo"
only = ["ice_bear", "lion"]
[source]
api_url = "{url}/v1"
photo_url = "{url}"
contact = "tests@localhost"
photos_per_class = 1000
requests_per_minute = 6000
requests_per_day = 100000
[download]
shard_size = 60
"""
    + SMALL_SETTINGS
)
"""Of the demo's world, from the look-alike at `{url}`."""
