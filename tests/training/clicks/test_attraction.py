"""What attracts, found again from simulated clicks, and the grades that come of it."""

from __future__ import annotations

import numpy as np
import pytest

from es_rerank.errors import DataError
from es_rerank.training.clicks.attraction import SMOOTHING, judge_log
from tests.training.clicks.simulation import pbm, simulate, ubm


def number(name: str) -> int:
    return int(name[1:])


@pytest.mark.parametrize("model", ["pbm", "ubm"])
def test_attraction_is_found_again_whatever_the_place(model: str) -> None:
    simulated = simulate(pbm if model == "pbm" else ubm, searches=50_000, queries=100)
    found = judge_log(simulated.log, model)  # type: ignore[arg-type]
    sure = [each for each in found.judgments if each.weight > 0.98]
    true = np.array([simulated.attraction[number(j.query), number(j.document)] for j in sure])
    assert len(sure) > 150
    assert np.abs(np.array([j.attraction for j in sure]) - true).mean() < 0.04
    good = np.array([j.rating for j in sure])
    assert true[good == 3].mean() > true[good == 2].mean() > true[good == 1].mean()
    assert set(good) == {0.0, 1.0, 2.0, 3.0}
    raw = np.array([j.clicks / j.shows for j in sure])
    assert np.abs(raw - true).mean() > 0.1  # what clicks over shows would have said


def test_what_was_hardly_seen_stays_near_the_mean_and_weighs_little() -> None:
    simulated = simulate(pbm, searches=3000, queries=100)
    found = judge_log(simulated.log, least_views=0.01).judgments
    rare = [each for each in found if each.views < 1]
    assert rare
    mean = sum(j.clicks for j in found) / sum(j.views for j in found)
    for each in rare:
        assert each.weight == pytest.approx(each.views / (each.views + SMOOTHING), abs=0.01)
    unclicked = [each.attraction for each in rare if not each.clicks]
    assert 0.6 * mean < float(np.mean(unclicked)) <= mean
    free = judge_log(simulated.log, least_views=0.01, smoothing=0).judgments
    assert {each.weight for each in free} == {1.0}
    assert max(each.attraction for each in free if each.views < 1 and not each.clicks) < 0.01


def test_pairs_seen_too_rarely_are_left_out() -> None:
    simulated = simulate(pbm, searches=2000)
    found = judge_log(simulated.log, least_views=20.0)
    assert found.judgments
    assert min(each.views for each in found.judgments) >= 20.0
    assert f"{len(found.judgments)} of " in " ".join(found.notes)
    with pytest.raises(DataError, match=r"seen 100000 times.*--least-views"):
        judge_log(simulated.log, least_views=100_000)


def test_probabilities_instead_of_grades() -> None:
    found = judge_log(simulate(pbm, searches=5000).log, scale="probabilities").judgments
    assert all(each.rating == each.attraction for each in found)
    assert all(0 <= each.rating <= 1 for each in found)


def test_known_propensities_are_taken_even_where_no_place_varies() -> None:
    simulated = simulate(pbm, searches=20_000, queries=50, shuffle=0.0)
    found = judge_log(simulated.log, known={1: 2.0, 2: 1.0, 3: 2 / 3, 4: 0.5, 5: 0.4, 6: 0.3})
    assert found.propensities[2, 0] == 0.5
    assert found.propensities[10, 0] == found.propensities[6, 0] == 0.15
    sure = [each for each in found.judgments if each.views > 200]
    true = [simulated.attraction[number(j.query), number(j.document)] for j in sure]
    assert np.abs(np.array([j.attraction for j in sure]) - true).mean() < 0.1
    with pytest.raises(DataError, match="nothing of place 1"):
        judge_log(simulated.log, known={2: 1.0})
    with pytest.raises(DataError, match="above 0"):
        judge_log(simulated.log, known={1: 1.0, 2: 0.0})
