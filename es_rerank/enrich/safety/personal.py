"""Personal data in texts: mail addresses, phones, accounts, cards, identity numbers.

What has check digits is checked by them (ISO 13616 for IBANs, ISO/IEC 7812 for cards, GB 11643 for
Chinese identity numbers), so that an article's number is not taken for a card's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAIL = re.compile(
    r"[\w.+%-]{1,64}\s?(?:@|\(at\)|\[at\]|＠)\s?[\w-]{1,63}(?:\s?\.\s?[a-z]{2,24})+", re.I
)
LONG = re.compile(r"\d(?:[\s.\-()/A-Z]{0,3}\d){5}")
"""Six digits near each other, which all that follows has."""
MAIL_MARKS = ("@", "＠", "(at)", "[at]", "(AT)", "[AT]")
PHONE = re.compile(
    r"(?<![\w.,/-])\+\d{1,3}[\s.\-()/]*(?:\d[\s.\-()/]*){6,12}\d(?!\w)"
    r"|(?<![\w.,/-])00\d{2}[\s.\-()/]+(?:\d[\s.\-()/]*){6,12}\d(?!\w)"
    r"|(?<![\w.,/-])(?:1[\s.-])?\(?[2-9]\d{2}\)?[\s.-]\d{3}[\s.-]\d{4}(?!\w)"
    r"|(?<!\d)1[3-9]\d{9}(?!\d)|(?<!\d)0\d{2,3}-\d{7,8}(?!\d)|(?<!\d)400-?\d{3}-?\d{4}(?!\d)"
    r"|\b(?:tel|phone|call|fax|mobile|whatsapp|hotline|text us)\b\.?:?\s*(?:us|me|now)?\s*"
    r"(?:at|on)?\s*[:(]?\s*\d(?:[\s.\-()/]*\d){5,14}"
    r"|(?:电话|手机|微信|热线|拨打)[:：]?\s*\d(?:[\s\-]*\d){5,14}",
    re.I,
)
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z\d]{4}){2,7}(?:\s?[A-Z\d]{1,4})?\b")
CARD = re.compile(r"(?<![\d.,])(?:\d[ -]?){14,18}\d(?![\d.,]?\d)")
CHINESE_ID = re.compile(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}[01]\d[0-3]\d{4}[\dXx](?!\w)")
SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def find_personal(text: str) -> Iterator[str]:
    """Yield what kind of personal data a text holds, each as often as it does; never the data."""
    if any(mark in text for mark in MAIL_MARKS):
        yield from ("a mail address" for _ in MAIL.finditer(text))
    if LONG.search(text) is None:
        return
    numbers = [match[0] for match in CHINESE_ID.finditer(text) if _is_chinese_id(match[0])]
    yield from ("an identity number" for _ in numbers)
    yield from ("an identity number" for _ in SOCIAL_SECURITY.finditer(text))
    yield from ("a bank account" for match in IBAN.finditer(text) if _is_iban(match[0]))
    cards = [match[0] for match in CARD.finditer(text) if _is_card(match[0])]
    yield from ("a card's number" for card in cards if card not in numbers)
    yield from ("a phone number" for _ in PHONE.finditer(text))


def _is_iban(text: str) -> bool:
    code = text.replace(" ", "")
    if not 15 <= len(code) <= 34:
        return False
    turned = "".join(str(int(char, 36)) for char in code[4:] + code[:4])
    return int(turned) % 97 == 1


def _is_card(text: str) -> bool:
    digits = [int(char) for char in text if char.isdigit()]
    if len(digits) not in {15, 16, 19} or digits[0] not in {2, 3, 4, 5, 6}:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_chinese_id(text: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()
