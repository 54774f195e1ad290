"""Verdicts on any grouped answers: a table of rows with class, group and right or wrong, from wherever it comes."""
