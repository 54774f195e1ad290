"""People look at photos, and what they say is kept: the log of their decisions, and the page to make them on."""
