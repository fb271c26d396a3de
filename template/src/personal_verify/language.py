"""What texts for assistants say: whether there is something in them, and whether they direct."""

from __future__ import annotations

import re
import unicodedata

# Words that say nothing about one tool rather than another.
EMPTY = """
a all an and any are as at be by can data do does for from function get helper her his in info
information into is it item its me method my of on or our server simple simply some something
stuff that the their them these thing things this those to tool use used useful user users using
utility various very will with you your
"""
# Words that only English sentences are made of, so that other languages are not judged by it.
ENGLISH = "and are by for from has its that the this with your"
DIRECTING = """
always ask before call calling choose consult if instead must never prefer should unless use uses
using when whenever
"""
EMPTY_WORDS, ENGLISH_WORDS = frozenset(EMPTY.split()), frozenset(ENGLISH.split())
DIRECTIONS = frozenset(DIRECTING.split())
CHARACTERS_A_TOKEN = 4


def words_in(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def weight(text: str) -> int:
    """Returns the length of a text, in which an ideograph counts as three letters."""
    return sum(3 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text.strip())


def stem(word: str) -> str:
    return re.sub(r"(ing|ed|es|s|e|y|ies)$", "", word) if len(word) > 3 else word


def telling_words(text: str, *names: str) -> int:
    """Returns how many words say more than the names do.

    Of scripts without spaces three signs count as a word.
    """
    known = {stem(word) for name in names for word in re.split(r"[^a-z0-9]+", name.lower())}
    said = {stem(word): word for word in words_in(text) if word not in EMPTY_WORDS}
    new = [word for key, word in said.items() if key not in known]
    return sum(max(1, len(word) // 3) if word > "\u0e00" else 1 for word in new)


def is_english(text: str) -> bool:
    return len(ENGLISH_WORDS & set(words_in(text))) >= 2


def directs(text: str) -> bool:
    """Tells whether a text says when to do something; one that is not English is believed to."""
    words = words_in(text)
    whole_sentence = len(words) > 4 or any(word > "\u0e00" for word in words)
    return bool(DIRECTIONS & set(words)) or (whole_sentence and not is_english(text))


def tokens_in(text: str) -> int:
    """Returns about how many tokens a model reads: four letters each, other signs one each."""
    plain = sum(sign < "\u0250" for sign in text)
    return plain // CHARACTERS_A_TOKEN + len(text) - plain
