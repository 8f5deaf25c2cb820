from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from es_rerank.models.packed.chunks import plan_chunks

LENGTHS = st.lists(st.integers(1, 60), max_size=80)


@given(LENGTHS, st.integers(1, 300))
def test_every_sequence_is_in_one_chunk_at_its_length(lengths: list[int], budget: int) -> None:
    chunks = plan_chunks(lengths, budget)
    rows = [row for chunk in chunks for row in chunk.rows]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)
    for chunk in chunks:
        assert chunk.tokens <= budget or len(chunk.rows) == 1
        assert chunk.tokens == sum(lengths[row] for row in chunk.rows)
        end = 0
        spread = []
        for group in chunk.groups:
            assert group.start == end
            end = group.end
            spread += [group.length] * group.count
        assert spread == [lengths[row] for row in chunk.rows]


@given(LENGTHS, st.integers(60, 300))
def test_chunks_are_about_equally_large(lengths: list[int], budget: int) -> None:
    """No more of them than twice what the tokens need, and the last is no crumb."""
    chunks = plan_chunks(lengths, budget)
    total = sum(lengths)
    assert len(chunks) <= 2 * -(-total // budget)


def test_a_small_rest_is_spread() -> None:
    chunks = plan_chunks([10] * 21, 100)
    assert [chunk.tokens for chunk in chunks] == [70, 70, 70]
