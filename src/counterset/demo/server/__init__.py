"""The look-alike of iNaturalist: its API, its photo host and scripted faults, over a catalogue of plain records."""
