"""Compares phrases whatever the order and the endings of their words."""

import re
import unicodedata

Key = frozenset[str]

UNHEARD = frozenset(
    ["a", "an", "and", "at", "audio", "by", "etc", "from", "in", "is", "of", "on", "or", "some",
     "sound", "sounds", "the", "to", "with"]
)  # fmt: skip
TOGETHER = re.compile(r"[,;&+]|\b(?:and|with)\b")
EITHER = re.compile(r"\bor\b|[|/]")
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
SHORTEST = 4  # letters of a word that has an ending


def plain(text: str) -> str:
    """A text without capitals and superfluous spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words(text: str) -> list[str]:
    """The words of a text that say what is heard; all of them if none does."""
    found = WORD.findall(plain(text))
    return [word for word in found if word not in UNHEARD] or found


def sounds(text: str) -> list[list[list[str]]]:
    """The words of each choice for each of the sounds that a text asks for together.

    `and`, `with`, a comma, `&` and `+` join sounds; `or` and a stroke join choices.
    """
    parts = [map(words, EITHER.split(part)) for part in TOGETHER.split(plain(text))]
    found = [list(filter(None, choices)) for choices in parts]
    return list(filter(None, found))


def stem(word: str) -> str:
    """An English word without the ending of a plural or of an -ing form.

    `bark` is the stem of barks and barking, `chop` of chopping, `typ` of type and typing. It only
    serves to compare words.
    """
    if len(word) < SHORTEST:
        return word
    word = re.sub(r"ies$", "y", word)
    word = re.sub(r"(?<=sh|ch|ss|zz)es$|(?<=[^siu])s$", "", word)
    word = re.sub(r"^(?=\w{3,}ing$)(\w*[aeiouy]\w*)ing$", r"\1", word)
    word = re.sub(r"([bdfgmnprt])\1$", r"\1", word)
    return re.sub(r"(?<=\w\w[^aeiou])e$", "", word)


def key(phrase: list[str]) -> Key:
    """A value that is equal for phrases that mean the same."""
    return frozenset(map(stem, phrase))


def keys(phrase: list[str]) -> tuple[Key, Key]:
    """The key of a phrase, and the key of its words written in one: a lawn mower is a lawnmower."""
    return key(phrase), key(["".join(phrase)])


def alternatives(name: str) -> list[str]:
    """The names that a name lists, as `Chicken, rooster` does.

    A name with brackets, `Frying (food)`, is also given without them.
    """
    bare = re.sub(r"\s*\([^()]*\)", "", name)
    parts = [part.strip() for part in bare.split(",")]
    found = [bare, *(re.sub(r"^(and|or)\b\s*|\betc\.?$", "", part) for part in parts)]
    return [part for part in dict.fromkeys(found) if part and part != name]
