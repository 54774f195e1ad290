"""The tables that say how far a drop may be the background's: columns, types, units and meaning."""

from __future__ import annotations

import pyarrow as pa

from counterset.schemas import BOOL, CLASS_ID, FLOAT64, INT64, PHOTO_ID, STRING, TEXTS, Column, TableSchema

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

APPEARANCE = TableSchema(
    "appearance",
    "one photo's look, from its pixels with the shorter side scaled down to 256",
    ("photo_id",),
    (
        PHOTO_ID,
        Column("sharpness", FLOAT64, "log10 of the variance of the Laplacian of brightness, brightness in [0, 1]"),
        Column("luminance", FLOAT64, "mean brightness, in [0, 1]"),
        Column("contrast", FLOAT64, "standard deviation of brightness, in [0, 1]"),
        Column("colourfulness", FLOAT64, "Hasler and Süsstrunk's (2003), of channels in [0, 1]"),
    ),
)

_OF_ANIMALS = (
    Column("animal_share", FLOAT64, "share of the frame that animals cover; null = nothing says where they are", True),
    Column("animal_offset", FLOAT64, "of what they cover from the frame's centre; 1 = a corner", True),
    Column("num_animals", INT64, "boxes or masks; null = not known, as where each photo has one mask", True),
)

EDGES = TableSchema(
    "edges",
    "one photo whose edges say whether an annotator's names see backgrounds, by its bytes",
    ("sha256",),
    (
        Column("sha256", STRING, "of its bytes"),
        Column("edges", pa.list_(pa.float32()), "means and spreads of colours and contrasts at its four edges"),
    ),
)

ANIMALS = TableSchema(
    "animals",
    "one photo's animals in its frame, as boxes or masks say",
    ("photo_id",),
    (PHOTO_ID, *_OF_ANIMALS),
)

COVARIATES = TableSchema(
    "covariates",
    "one photo: what else than its background may make it easy or hard",
    ("photo_id",),
    (
        PHOTO_ID,
        CLASS_ID,
        Column("sharpness", FLOAT64, "of the photo at one size, in powers of ten; null = not measured", True),
        Column("luminance", FLOAT64, "mean brightness, in [0, 1]", True),
        Column("contrast", FLOAT64, "standard deviation of brightness, in [0, 1]", True),
        Column("colourfulness", FLOAT64, "Hasler and Süsstrunk's (2003), of channels in [0, 1]", True),
        Column("megapixels", FLOAT64, "millions of pixels"),
        Column("size_bytes", INT64, "bytes at url"),
        Column("aspect", FLOAT64, "width over height"),
        Column("month", INT64, "of observation, 1 to 12", True),
        Column("hour", INT64, "of observation, local time, 0 to 23; null = the source does not tell", True),
        Column("subspecies", STRING, "scientific name of three words, where the source names one", True),
        Column("life_stage", STRING, "adult, juvenile and the like; null = nobody said", True),
        Column("sex", STRING, "female or male, or as a list says; null = nobody said", True),
        Column("observer_photos", INT64, "photos of other classes by this observer in the release"),
        Column(
            "observer_accuracy",
            FLOAT64,
            "how much more often than usual for class and group the selectors are right on this observer's photos of "
            "other classes, drawn towards 0; null = no selector answered",
            True,
        ),
        Column("place_photos", INT64, "photos of the release at this place; null = the source tells no places", True),
        *_OF_ANIMALS,
    ),
)

BALANCE = TableSchema(
    "balance",
    "one class's covariate: how it differs between common and counter, and what of the drop it explains",
    ("class_id", "covariate"),
    (
        CLASS_ID,
        Column("covariate", STRING, "a column of covariates"),
        Column("component", STRING, "what it stands for in decomposition"),
        Column("role", STRING, "adjust = drop_controlled takes it out; apart = the background's own look may be in it"),
        Column("num_known", INT64, "photos of the pair for which it is known"),
        Column("mean_common", FLOAT64, "mean on the common group; months and categories: null", True),
        Column("mean_counter", FLOAT64, "the same of the counter group", True),
        Column("difference", FLOAT64, "standardised: common less counter over the pooled standard deviation", True),
        Column("explained", FLOAT64, "part of the drop that goes with it, beside all others", True),
        Column("explained_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("explained_high", FLOAT64, "upper end", True),
        Column("partial_r2_group", FLOAT64, "share of what others leave of the group that it explains", True),
        Column("partial_r2_outcome", FLOAT64, "share of what group and others leave of the outcome that it does", True),
        Column(
            "times_as_strong", FLOAT64, "so many times as strong, a hidden cause would explain drop_controlled", True
        ),
    ),
)

DECOMPOSITION = TableSchema(
    "decomposition",
    "one component of one class's drop; the components of a class sum to its drop, in whatever order",
    ("class_id", "component"),
    (
        CLASS_ID,
        Column("component", STRING, "what covariates stand for; unexplained = what goes with none of them"),
        Column("covariates", TEXTS, "those that the regression holds; null parts = it holds none"),
        Column("explained", FLOAT64, "part of the drop that goes with it, beside all others", True),
        Column("explained_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("explained_high", FLOAT64, "upper end", True),
    ),
)

CONTROLLED = TableSchema(
    "controlled",
    "one class's pair, with what else differs between its groups taken out",
    ("class_id",),
    (
        CLASS_ID,
        Column("is_uninformative", BOOL, "both groups are at the floor or at the ceiling: a drop could not show"),
        Column("num_photos", INT64, "photos of the pair with an answer of every selector"),
        Column("num_units", INT64, "independent units on the smaller side"),
        Column("covariates", TEXTS, "what was taken out"),
        Column("drop_plain", FLOAT64, "drop over all photos of the pair, chosen on part of them: biased upwards", True),
        Column("drop_controlled", FLOAT64, "the drop with covariates taken out; null = too few units", True),
        Column("drop_controlled_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_controlled_high", FLOAT64, "upper end", True),
        Column("drop_unexplained", FLOAT64, "the same with the covariates set apart taken out too", True),
        Column("drop_unexplained_low", FLOAT64, "lower end of its 95 % interval", True),
        Column("drop_unexplained_high", FLOAT64, "upper end", True),
        Column("overlap", FLOAT64, "effective share of photos: what covariates leave of the group's variance", True),
        Column("p_controlled", FLOAT64, "one-sided: margins and answers do not differ once covariates are out", True),
        Column("q_controlled", FLOAT64, "Benjamini-Hochberg over classes", True),
        Column("robustness_value", FLOAT64, "partial R2 of a hidden cause that would explain drop_controlled", True),
        Column("reason", STRING, "why there is no drop_controlled, in words", True),
    ),
)

_EFFECTS = (
    Column("intervention", STRING, "what the models saw (docs/causes.md)"),
    Column("compared_with", STRING, "the intervention that differs from it in one thing; null = none", True),
    Column("num_photos", INT64, "photos of both sides, each shown under every intervention"),
    Column("num_units", INT64, "independent units of these"),
    Column("accuracy", FLOAT64, "share of right answers, both sides with equal weight"),
    Column("accuracy_common", FLOAT64, "the same of animals photographed on the common background"),
    Column("accuracy_counter", FLOAT64, "the same of animals photographed on the counter background"),
    Column("effect", FLOAT64, "accuracy less that of compared_with, paired by photo; null = compared with none", True),
    Column("effect_low", FLOAT64, "lower end of its 95 % interval; null = too few photographers to say", True),
    Column("effect_high", FLOAT64, "upper end", True),
)

INTERVENTIONS = TableSchema(
    "interventions",
    "one class under one model and intervention: what a change of one thing in its photos does to the answers",
    ("class_id", "model", "intervention"),
    (CLASS_ID, _MODEL, _LABEL_SPACE, *_EFFECTS),
)

INTERVENTIONS_BY_MODEL = TableSchema(
    "interventions_by_model",
    "one model and intervention: the same over all classes, each with equal weight",
    ("model", "intervention"),
    (_MODEL, _LABEL_SPACE, Column("num_classes", INT64, "classes of the means"), *_EFFECTS),
)
