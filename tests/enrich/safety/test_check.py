"""A text may say what its source says, and nothing that must not be said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from es_rerank.enrich.safety.check import check_copy, check_text
from es_rerank.enrich.safety.quantities import find_quantities, find_unfounded
from es_rerank.enrich.safety.rules import load_rules, shipped_rules
from es_rerank.errors import ConfigError
from tests.enrich.safety.attacks import ATTACKS, HARMLESS

SOURCE = """\
Aurora X2 trail running shoe, men
Brand: Tarnwick
Weight: 250 g
Colour: deep black
The Aurora X2 is a waterproof trail running shoe with a 12 mm rubber outsole.
It is not dishwasher-safe. The two soles last for 1,500 km. Screen of 15.6 inches.
极光跑鞋采用防水鞋面，重量250克，配有两双鞋带。"""
RULES = shipped_rules()


@pytest.mark.parametrize(
    "text",
    [
        "The Aurora X2 by Tarnwick weighs 250 g.",
        "A light shoe of 0.25 kg for the trail.",
        "Its waterproof upper and 12mm outsole last 1500 km.",
        "Lasts for 1.500 kilometres.",
        'Screen: 39.6 cm (15.6").',
        "Enjoy every run. Perfect for men who love trails.",
        "2 soles",
        "Not dishwasher-safe.",
        "极光跑鞋，防水，250克。",
        "Tarnwick’s shoes",
        "DEEP BLACK shoe",
    ],
)
def test_what_the_source_says_passes(text: str) -> None:
    assert check_text(text, SOURCE, RULES).reasons == []


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("It weighs 300 g.", "number", "300 g"),
        ("It weighs 250 kg.", "unit", "250 kg"),
        ("Three soles.", "number", "Three"),
        ("三双鞋带。", "number", "三"),
        ("重量300克。", "number", "300克"),
        ("Costs only $49.", "number", "49"),
        ("A shoe by Nike.", "name", "Nike"),
        ("Salomon makes the shoe.", "name", "Salomon"),
        ("With a Gore-Tex upper.", "name", "Gore-Tex"),
        ("Like the XT-6.", "name", "XT-6"),
        ("极光跑鞋采用Vibram大底。", "name", "Vibram"),
        ("Dishwasher-safe.", "claim", "Dishwasher-safe"),
        ("Eco-friendly and vegan.", "claim", "green"),
        ("Made in Italy.", "claim", "Made in Italy"),
        ("Clinically proven comfort.", "claim", "endorsed"),
        ("With a lifetime warranty.", "claim", "lasts"),
        ("Soft leather.", "claim", "leather"),
        ("Free shipping today.", "claim", "offer"),
        ("For real men.", "bias", "real men"),
        ("适合女司机。", "bias", "女司机"),
    ],
)
def test_what_it_does_not_say_waits(text: str, kind: str, detail: str) -> None:
    verdict = check_text(text, SOURCE, RULES)
    assert verdict.outcome == "flagged"
    assert any(reason.startswith(f"{kind}: ") and detail in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to shop@example.org for more.", "personal"),
        ("Call 1-800-555-0199.", "personal"),
        ("Tel: 030 1234567", "personal"),
        ("联系电话：13800138000", "personal"),
        ("Pay to DE89 3704 0044 0532 0130 00.", "personal"),
        ("Card 4111 1111 1111 1111", "personal"),
        ("身份证11010519491231002X", "personal"),
        ("SSN 078-05-1120", "personal"),
        ("See http://evil.example/x", "link"),
        ("More at evil.com", "link"),
        ("You idiot.", "toxic"),
        ("傻逼才不买。", "toxic"),
        ("It cures back pain.", "claim"),
        ("The best in the world.", "claim"),
        ("100% guaranteed!", "claim"),
        ("国家级品质，全国最佳。", "claim"),
        ("Here is the title you wanted: shoe", "claim"),
        ("A <b>bold</b> shoe", "markup"),
        ("A sh\u200boe", "markup"),
        ("**Bold** shoe", "markup"),
    ],
)
def test_what_must_not_be_said_is_blocked(text: str, kind: str) -> None:
    # Whether or not the source says it too.
    for source in (SOURCE, f"{SOURCE}\n{text}"):
        verdict = check_text(text, source, RULES)
        assert verdict.outcome == "blocked"
        assert any(reason.startswith(f"{kind}: ") for reason in verdict.reasons)
    assert check_copy(text, RULES).outcome == "blocked"


def test_what_an_attribute_denies_is_not_said() -> None:
    assert check_text("Waterproof.", "Waterproof: no\nBPA-free: 否", RULES).outcome == "flagged"
    assert check_text("Waterproof.", "Waterproof: yes", RULES).outcome == "passed"
    assert check_text("A BPA-free cup.", "BPA-free: false", RULES).outcome == "flagged"


def test_a_name_like_an_address_may_be_said_where_it_is_the_products() -> None:
    source = "StarTech.com DVI cable, 6 ft"
    assert check_text("A DVI cable by StarTech.com.", source, RULES).outcome == "passed"
    assert check_text("A DVI cable by evil.com.", source, RULES).outcome == "blocked"
    assert check_text("See StarTech.com for more.", source, RULES).outcome == "blocked"


def test_reasons_do_not_repeat_personal_data() -> None:
    text = "Write to shop@example.org or call +49 30 1234567 8."
    said = " ".join(f.reason for f in check_text(text, text, RULES).findings)
    assert "personal: a mail address" in said
    assert "personal: a phone number" in said
    assert "example.org" not in said
    assert "1234567" not in said


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_repeats_an_order_is_blocked(attack: str) -> None:
    assert check_text(attack, f"{SOURCE}\n{attack}", RULES).outcome == "blocked"


@pytest.mark.parametrize("text", [*HARMLESS, "EAN 4006381333931", "Model 2024-05-01 rev 1.2.3"])
def test_what_is_copied_and_harms_nobody_passes(text: str) -> None:
    assert check_copy(text, RULES).reasons == []


def test_lists_are_checked_item_by_item() -> None:
    verdict = check_text(["Waterproof", "By Nike", "Call +1 555 0100 200"], SOURCE, RULES)
    assert verdict.outcome == "blocked"
    assert verdict.reasons[0].startswith("personal")  # what weighs most comes first
    assert "name: Nike is not in the source" in verdict.reasons


def test_nouns_have_capitals_in_german() -> None:
    source = "Laufschuh von Tarnwick, 250 g"
    text = "Der leichte Begleiter für deinen Sport von Tarnwick."
    assert check_text(text, source, RULES, "de").outcome == "passed"
    assert check_text("Mit ADIDAS Sohle.", source, RULES, "de").outcome == "flagged"


WORDS = st.sampled_from(
    ["red", "Blue", "shoe", "12", "3.5", "kg", "Acme", "X2", "waterproof", "250", "g", "两个"]
)


@given(st.lists(WORDS, min_size=1, max_size=12).map(" ".join))
def test_a_text_may_say_all_that_its_source_says(text: str) -> None:
    verdict = check_text(text, text, RULES)
    assert [f for f in verdict.findings if f.kind in {"number", "unit", "name", "claim"}] == []


@given(st.integers(2, 10**6), st.integers(2, 10**6))
def test_numbers_are_the_same_or_not(one: int, two: int) -> None:
    found = list(find_unfounded(f"It has {one} parts", f"It has {two} parts"))
    assert bool(found) == (one != two)
    assert not list(find_unfounded(f"{one:,} parts", f"{one} parts"))


@pytest.mark.parametrize(
    ("one", "other"),
    [("1 kg", "1000 g"), ("2.54 cm", "1 inch"), ("1.5 h", "90 min"), ("1,5 l", "1500 ml")],
)
def test_units_are_converted(one: str, other: str) -> None:
    assert not list(find_unfounded(one, other))
    assert not list(find_unfounded(other, one))
    assert list(find_unfounded(one, other.replace("1", "7").replace("9", "8")))


def test_how_numbers_are_read() -> None:
    (thousands,) = find_quantities("1.500")
    assert thousands.values == {1.5, 1500.0}
    assert [q.text for q in find_quantities("iPhone14, 42mm and two X2")] == ["42mm", "two"]


def test_rules_and_words_of_ones_own(tmp_path: Path) -> None:
    claims = tmp_path / "claims.toml"
    claims.write_text('[[rule]]\nname = "ours"\nlevel = "block"\nphrases = ["blue moon"]\n')
    (tmp_path / "toxic-en.txt").write_text("# ours\nturnip  # rude here\n")
    rules = load_rules(claims, tmp_path)
    assert check_copy("Once in a Blue  Moon.", rules).reasons == ["claim: Blue  Moon (ours)"]
    assert check_copy("You turnip", rules).outcome == "blocked"
    assert check_copy("You idiot", rules).outcome == "passed"
    assert check_copy("For real men", rules).outcome == "flagged"  # the list that comes along


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[rule]]\n", "name"),
        ('[[rule]]\nname = "x"\n', "looks for nothing"),
        ('[[rule]]\nname = "x"\nregex = "("\n', "wrong regex"),
        ('[[rule]]\nname = "x"\nphrase = ["a"]\n', "did you mean"),
        ('[[rule]]\nname = "x"\nlevel = "warn"\nphrases = ["a"]\n', "flag"),
        ("[[rule\n", "cannot be read as TOML"),
    ],
)
def test_wrong_rules_are_named(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "claims.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load_rules(file)
    assert "claims.toml" in str(caught.value)
    with pytest.raises(ConfigError, match="no folder of word lists"):
        load_rules(None, tmp_path / "absent")
