"""From association to cause: what of a drop other things than the background would explain. Tables in, tables out."""
