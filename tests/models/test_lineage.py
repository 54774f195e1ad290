from __future__ import annotations

import open_clip
import pytest

from counterset.config import ModelsConfig
from counterset.errors import ConfigError
from counterset.models.door import trained_on
from counterset.models.lineage import check_roles


def roles(annotator: str, selector: str, allow_circular: bool = False) -> ModelsConfig:
    return ModelsConfig(annotator=annotator, selectors=(selector,), allow_circular=allow_circular)


def test_the_longest_prefix_speaks() -> None:
    assert trained_on("ViT-B-32/laion400m_e31") == {"LAION-400M"}
    assert "LAION-2B" in trained_on("ViT-B-32/laion2b_s34b_b79k")
    assert trained_on("ViT-B-32/openai") == {"WIT-400M"}
    assert trained_on("ViT-B-32/no_such_tag") == frozenset()


def test_shared_training_data_is_circular() -> None:
    with pytest.raises(ConfigError, match="LAION-400M") as error:
        check_roles(roles("ViT-B-16/laion400m_e32", "ViT-B-32/laion400m_e31"))
    assert "allow_circular" in str(error.value)
    check_roles(roles("ViT-B-16/laion400m_e32", "ViT-B-32/laion400m_e31", allow_circular=True))
    check_roles(roles("ViT-B-32/openai", "ViT-B-32/laion400m_e31"))


def test_the_demos_roles_are_apart() -> None:
    assert trained_on("demo:annotator") and trained_on("demo:selector")
    check_roles(roles("demo:annotator", "demo:selector"))


def test_most_of_open_clips_tags_are_known() -> None:
    tags = [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()]
    known = sum(bool(trained_on(tag)) for tag in tags)
    assert known > 0.9 * len(tags), sorted({tag.rpartition("/")[2] for tag in tags if not trained_on(tag)})
