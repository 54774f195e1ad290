"""The tables that say how far a drop may be the background's: columns, types, units and meaning."""

from __future__ import annotations

from counterset.schemas import CLASS_ID, FLOAT64, INT64, STRING, Column, TableSchema

_MODEL = Column("model", STRING, "the model's name")
_LABEL_SPACE = Column("label_space", STRING, "name of the label space")
_COUNTS = (
    Column("num_wrong", INT64, "wrong answers on photos of the counter group"),
    Column("num_background", INT64, "of these, naming a class whose home this background is, but no relative"),
    Column("num_near", INT64, "naming a relative (same family or genus) whose home this background is not known to be"),
    Column("num_both", INT64, "naming a relative whose home this background is"),
    Column("num_other", INT64, "naming no relative, nor a class whose home this background is"),
    Column("num_unknown", INT64, "the rest: of the named class neither is known"),
    Column("num_without_home", INT64, "wrong answers of any kind naming a class whose home is not known"),
    Column("share_home", FLOAT64, "share of the wrong answers that name a class at home on this background", True),
    Column("share_chance", FLOAT64, "the same if the class's wrong answers were dealt to its photos at random", True),
    Column("excess", FLOAT64, "share_home - share_chance; 0 = wrong answers know nothing of the background", True),
    Column("excess_low", FLOAT64, "lower end of its 95 % interval; null = too few photographers to say", True),
    Column("excess_high", FLOAT64, "upper end", True),
)

WRONG_ANSWERS = TableSchema(
    "wrong_answers",
    "one class under one model: where its wrong answers on the counter group go",
    ("class_id", "model", "label_space"),
    (
        CLASS_ID,
        _MODEL,
        _LABEL_SPACE,
        Column("num_photos", INT64, "photos of the counter group"),
        Column("num_wrong_class", INT64, "wrong answers on all grouped photos of the class, dealt for share_chance"),
        *_COUNTS,
    ),
)

WRONG_ANSWERS_BY_MODEL = TableSchema(
    "wrong_answers_by_model",
    "one model: where its wrong answers on all counter groups go",
    ("model", "label_space"),
    (
        _MODEL,
        _LABEL_SPACE,
        Column("num_classes", INT64, "classes with a wrong answer on their counter group"),
        Column("num_photos", INT64, "photos of the counter groups"),
        *_COUNTS,
    ),
)
