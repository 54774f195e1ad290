"""Why a setting is in no key, or not in every one; each is put where the setting is declared."""

from __future__ import annotations

from counterset.content import NotContent

UNDRAWN = ("requests", "pool", "photos", "features", "members", "predictions")
ANSWERS = NotContent("chooses among the source's answers, which are the same", of=("requests",))
OFFERED = NotContent("decides which photos are offered, not what a photo is", of=("pool",))
CHOSEN = NotContent("chooses among the source's answers, which are the same", of=("requests", "pool"))
TIRELESS = NotContent("how long and how often is tried; a refresh retries what failed")
PLACE = NotContent("where files lie")
NAMED = NotContent("what it names is in the keys, whatever it is called")
ROLE = NotContent("features are of one model, which their key holds", of=("features",))
PROMPTS = NotContent("predictions are under one set of prompts, whose text their key holds", of=("predictions",))
AFTER_MEMBERS = NotContent("pairs are chosen among the members", of=("members",))
NO_DRAW = NotContent("nothing is drawn", of=UNDRAWN)
TITLE = NotContent("names the release")
MIRROR = NotContent("a mirror gives the same bytes")
CALLER = NotContent("says who asks, not what is asked")
RUNNER = NotContent("changes no byte")
STOP = NotContent("decides when a build stops")
SAID = NotContent("is said of the photos, and changes none")
LEAVE = NotContent("decides whether a build may run; the release says so")
SAMPLED = NotContent("decides which photos people are asked to label, not what is made of their labels")
NUMBERS = NotContent("the numbers that it makes a model compute in are in the features' key")
