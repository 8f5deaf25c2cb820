from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from es_rerank.config import Settings
from es_rerank.errors import ConfigError
from es_rerank.plugins import GROUPS, load_plugin
from es_rerank.ranking.candidate import Candidates
from es_rerank.ranking.diversity.kernel import KernelWeights, build_kernel
from tests.plugins import EXAMPLE, install_example

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_example(tmp_path, monkeypatch)


def candidates(n: int, **rest: object) -> Candidates:
    return Candidates(np.arange(n, 0, -1.0), ["red shoe", "blue hat", None][:n], **rest)  # type: ignore[arg-type]


def test_a_signal_is_made_with_its_options() -> None:
    fresh = load_plugin("signal", "freshness", {"freshness": {"half_life_days": 10}})
    now = datetime.now(UTC)
    dates = [[now.isoformat()], [(now - timedelta(days=10)).isoformat()], []]
    scores = fresh.score(None, candidates(3, values={"date_released": dates}))
    assert scores[:2] == pytest.approx([1.0, 0.5], abs=1e-3)
    assert np.isnan(scores[2])


def test_a_scorer_judges_texts() -> None:
    scores = load_plugin("scorer", "overlap", {}).score("red hat", candidates(3))
    assert scores[:2].tolist() == [0.5, 0.5]
    assert np.isnan(scores[2])


def test_a_diversifier_orders() -> None:
    mmr = load_plugin("diversifier", "plain-mmr", {})
    kernel = build_kernel(3, None, None, {"brand": ["a", "a", "b"]}, KernelWeights())
    assert kernel is not None
    relevance = np.array([1.0, 0.9, 0.5])
    assert mmr(relevance, kernel, 0.0).tolist() == [0, 1, 2]
    assert mmr(relevance, kernel, 0.7).tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("freshnes", {}, "did you mean 'freshness'?"),
        ("zzz", {}, "installed: freshness"),
        ("freshness", {"freshness": {"half_life_days": "soon"}}, r"\[plugins.freshness\]: ValueE"),
    ],
)
def test_what_is_wrong_is_said(name: str, options: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_plugin("signal", name, options)


def test_a_plugin_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "more"
    (other / "lost-1.dist-info").mkdir(parents=True)
    (other / "lost-1.dist-info" / "METADATA").write_text("Name: lost\nVersion: 1\n")
    (other / "lost-1.dist-info" / "entry_points.txt").write_text(
        "[es_rerank.signals]\nlost = no_such_module:Lost\n"
    )
    monkeypatch.syspath_prepend(str(other))
    with pytest.raises(ConfigError, match=r"no_such_module:Lost.*ModuleNotFoundError"):
        load_plugin("signal", "lost", {})


def test_the_page_shows_the_groups_and_settings_that_are_there() -> None:
    page = (ROOT / "docs" / "plugins.md").read_text()
    for kind, group in GROUPS.items():
        assert f"| {kind} | `{group}` |" in page
        assert f"{group} =" in (EXAMPLE / "setup.cfg").read_text()
    import tomllib

    sample = page.partition("```toml\n")[2].partition("```")[0]
    settings = Settings.model_validate(tomllib.loads(sample))
    assert settings.plugins["freshness"]["half_life_days"] == 180
    assert settings.rerank.signals == {"freshness": 0.2}
