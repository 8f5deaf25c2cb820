"""Sheets that people fill in: what comes back is checked, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from es_rerank.datasets.judgments import read_judgments
from es_rerank.errors import DataError
from es_rerank.training.suggest.choice import Suggestion
from es_rerank.training.suggest.sheet import merge_sheet, read_sheet, write_sheet

SUGGESTIONS = [
    Suggestion("red, shoes", "a", 'Shoe "Red"', 3, 0.9, 0.1, {"words": 3, "vectors": 9}, "doubt"),
    Suggestion("red, shoes", "b", "Shoe", 12, 0.4, 0.6, {"words": 1}, "dispute"),
    Suggestion("hat", "=c", "Hat; sun", 40, 0.1, 0.1, {}, "lot"),
]


def fill(path: Path, *ratings: str) -> Path:
    """Write ratings into the sheet, line by line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for i, rating in enumerate(ratings, start=1):
        at = lines[i].index(",,") if ",," in lines[i] else len(lines[i])
        lines[i] = f"{lines[i][:at]},{rating}{lines[i][at + 1 :]}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.csv"
    write_sheet(path, SUGGESTIONS)
    return path


def test_a_filled_sheet_becomes_judgments(sheet: Path, tmp_path: Path) -> None:
    header = sheet.read_text().splitlines()[0]
    assert header == "query,docid,rating,title,reason,place,place by words,place by vectors"
    found = read_sheet(fill(sheet, "3", "?", ""))
    assert [(each.query, each.document, each.rating) for each in found.rated] == [
        ("red, shoes", "a", 3)
    ]
    assert found.rated[0].row["title"] == 'Shoe "Red"'
    assert (found.open, found.unsure) == (1, 1)
    into = tmp_path / "judgments.csv"
    assert merge_sheet(found, into) == (1, 1)
    assert read_judgments(into).ratings == {"red, shoes": {"a": 3.0}}


def test_judgments_before_stay_with_all_their_columns(sheet: Path, tmp_path: Path) -> None:
    into = tmp_path / "judgments.csv"
    into.write_text('who,query,docid,rating\nann,hat,x,2\nbob,"red, shoes",a,1\n')
    found = read_sheet(fill(sheet, "1", "0", "2.0"))
    assert merge_sheet(found, into) == (2, 4)
    assert into.read_text().splitlines()[:3] == [
        "who,query,docid,rating",
        "ann,hat,x,2",
        'bob,"red, shoes",a,1',
    ]
    assert read_judgments(into).ratings["red, shoes"] == {"a": 1.0, "b": 0.0}
    assert merge_sheet(found, into) == (0, 4)  # twice is once


def test_a_contradiction_is_told_and_nothing_is_written(sheet: Path, tmp_path: Path) -> None:
    into = tmp_path / "judgments.csv"
    into.write_text('query,docid,rating\n"red, shoes",a,1\n')
    with pytest.raises(DataError, match=r"'a' for 'red, shoes' was rated 1 before and now 3"):
        merge_sheet(read_sheet(fill(sheet, "3", "2")), into)
    assert into.read_text() == 'query,docid,rating\n"red, shoes",a,1\n'


def test_as_spreadsheets_save_it(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(
        '\ufeffquery;docid;rating;title\r\nhat;a;2,0;Hat\r\n"big; hat";b;0;"two\r\nlines"\r\n'
        "hat;c; 1 ;x\r\n;;;\r\n".encode()
    )
    found = [(each.query, each.document, each.rating) for each in read_sheet(path).rated]
    assert found == [("hat", "a", 2), ("big; hat", "b", 0), ("hat", "c", 1)]


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text(
        "query,docid,rating\nhat,a,good\nhat,,2\nhat,b,5\nhat,c,1\nhat,c,2\nhat,d,1,9\nhat,e,1.5\n"
    )
    with pytest.raises(DataError) as error:
        read_sheet(path)
    said = str(error.value)
    for part in (
        "line 2 has the rating 'good'",
        "line 3 has lost its query or docid",
        "line 4 has the rating '5'",
        "line 6 rates 'c' for 'hat' 2, and line 5 rates it 1",
        "line 7 has 4 cells and the header 3",
        "line 8 has the rating '1.5'",
        "Nothing was taken over",
    ):
        assert part in said


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("query,docid,rating\n" + "".join(f"hat,{i},x\n" for i in range(30)))
    with pytest.raises(DataError, match="and 20 lines more"):
        read_sheet(path)


def test_another_file_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    path.write_text("query,title\nhat,Hat\n")
    with pytest.raises(DataError, match="lacks the columns docid, rating"):
        read_sheet(path)


def test_ratings_are_never_written_over(sheet: Path) -> None:
    write_sheet(sheet, SUGGESTIONS[:2])  # nobody has written into it yet
    fill(sheet, "3")
    before = sheet.read_text()
    with pytest.raises(DataError, match=r"--read .*sheet\.csv.*--out"):
        write_sheet(sheet, SUGGESTIONS)
    assert sheet.read_text() == before


def test_judgments_of_another_form_are_not_added_to(sheet: Path, tmp_path: Path) -> None:
    into = tmp_path / "judgments.qrels"
    into.write_text("q1 0 a 3\n")
    with pytest.raises(DataError, match="no CSV with the columns"):
        merge_sheet(read_sheet(fill(sheet, "3")), into)
