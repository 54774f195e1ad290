"""Candidates to images: photos fetched by img2dataset through the gate, or read where they lie."""
