from __future__ import annotations

from pathlib import Path

import pytest

from counterset.classes import load_classes
from counterset.config import load_config
from counterset.config_sections import SOURCES
from counterset.errors import ConfigError
from counterset.manifests import config_path

GOOD = """
name = "mine"
[classes]
list = "demo"
[models]
annotator = "demo:annotator"
selectors = ["demo:selector"]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, GOOD))
    assert config.workspace == str(tmp_path / "workspace")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD + "[source]\nphotos_per_clas = 3",
            "unknown key 'source.photos_per_clas'; did you mean 'photos_per_class'",
        ),
        (GOOD.replace('name = "mine"', ""), "key 'name' is missing"),
        (GOOD.replace("[models]", "[model]"), "unknown key 'model'; did you mean 'models'? (and 1 more)"),
        (GOOD + "[source]\nphotos_per_class = 0", "'source.photos_per_class'"),
        (GOOD.replace("demo:annotator", "demo:selector"), "is also a selector"),
        (GOOD.replace('["demo:selector"]', '["demo:a", "demo:a"]'), "'models.selectors': a selector is named twice"),
        (GOOD + "[select]\nmax_q_value = 0", "'select.max_q_value'"),
        (GOOD + "[select]\nmax_q_value = 0.9", "'select.max_q_value'"),
        (GOOD + '[source]\nobserved_from = "yesterday"', "'source.observed_from': not a day; write it as 2024-12-31"),
        (GOOD + '[source]\nobserved_to = "31.12.2024"', "'source.observed_to': not a day"),
        (GOOD + '[source]\nobserved_to = "20241231"', "'source.observed_to': not a day"),
        (
            GOOD + '[source]\nobserved_from = "2024-05-02"\nobserved_to = "2024-05-01"',
            "'source.observed_to': before observed_from 2024-05-02",
        ),
        (GOOD + '[source]\nquality_grades = ["resaerch"]', "'resaerch' is not a quality grade; use some of research"),
        (GOOD + "[source]\nquality_grades = []", "'source.quality_grades': nothing is named"),
        (GOOD + '[source]\nlicenses = ["cc-bye"]', "'cc-bye' is not a licence; use some of cc0, pd, cc-by"),
        (GOOD + '[source]\napi_url = "nonsense"', "'source.api_url': not a web address"),
        (GOOD + '[source]\nphoto_url = "ftp://x/y"', "'source.photo_url': not a web address"),
        (
            GOOD + '[source]\nphoto_url = ["https://x", 5]',
            "'source.photo_url': give an address, or a list",
        ),
        ('workspace = "~nosuchuser/x"' + GOOD, "cannot use the path '~nosuchuser/x'"),
        ('workspace = "a\\u0000b"' + GOOD, r"cannot use the path 'a\x00b'"),
        ("name = [", "is not valid TOML"),
    ],
)
def test_mistakes_name_key_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, text))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_shipped_configs_are_valid() -> None:
    configs = [load_config(path) for path in sorted(config_path("demo.toml").parent.glob("*.toml"))]
    assert len({config.name for config in configs}) == len(configs)
    assert {config.source.kind for config in configs} == set(SOURCES.own), "one for every source"
    for config in configs:
        assert load_classes(config.classes.list, config.classes.only)
