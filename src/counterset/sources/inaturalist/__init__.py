"""iNaturalist, by its API and by its Open Data tables, and all that only these two need."""
