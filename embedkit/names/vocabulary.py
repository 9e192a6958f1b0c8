"""Leads words of a person to the names that a classifier scores.

The names are AudioSet's, or those of any classifier: AudioSet's ontology and synonyms lead to those
that the classifier has.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce

from rapidfuzz import process
from rapidfuzz.distance import OSA

from embedkit.errors import UsageError
from embedkit.names.meaning import How, Match, Meaning
from embedkit.names.ontology import and_below, children, parents, synonyms
from embedkit.names.phrases import Key, alternatives, key, keys, plain, sounds, stem, words

MISSPELT = 0.79  # similarity to a known word from which an unknown one stands for it
NEAR, SAID = 0.55, 5  # similarity from which a phrase is near, and how many are said


class Vocabulary:
    """The words by which the labels of a classifier can be asked for."""

    def __init__(self, labels: Sequence[str]) -> None:
        """Take some labels, in the order of their scores."""
        self.labels = tuple(labels)
        self._whole = {plain(label): label for label in reversed(self.labels)}
        self._keys = {label: key(words(label)) for label in self.labels}
        self._label_of = self._ontology_to_labels()
        # By their words as they are written, and by their stems: `crowing` is not what crows do.
        self._written: dict[Key, tuple[How, list[str]]] = {}
        self._index: dict[Key, tuple[How, list[str]]] = {}
        self._phrases: dict[str, None] = {}  # in order, once
        # What is added first stands; what is added in one way stands together.
        for label in self.labels:
            self._add(label, How.EXACT, [label])
        for phrase, names in synonyms().items():
            self._add(phrase, How.SYNONYM, names)
        for label in self.labels:
            for phrase in alternatives(label):
                self._add(phrase, How.ALTERNATIVE, [label])
        for name in children():
            for phrase in (name, *alternatives(name)):
                self._add(phrase, How.ONTOLOGY, [name])
        self._words = sorted({word for phrase in self._phrases for word in words(phrase)})
        known = [*self._words, *(word for name in children() for word in words(name))]
        self._stems = set(map(stem, known))

    def find(self, text: str) -> Meaning:
        """What a query stands for.

        `and`, `with`, a comma, `&` or `+` join sounds that are to be heard together; `or` joins
        sounds of which any will do. The words of one sound narrow each other: `dog barking` is what
        both words stand for.

        Raises:
            UsageError: a word leads to no name; the message says which names are near.
        """
        label = self._whole.get(plain(text))
        whole = self._match(text, How.EXACT, [label]) if label else self._known(words(text))
        if whole:
            return Meaning(self.labels, (whole,))
        matches = [match for choices in sounds(text) for match in self._any(choices)]
        if not matches:
            raise UsageError(f"{text!r}: no words; expected those of a sound, as in 'dog barking'")
        return Meaning(self.labels, tuple(dict.fromkeys(matches)))

    def _any(self, choices: list[list[str]]) -> list[Match]:
        """What any of some phrases stands for."""
        found = [self._sound(phrase) for phrase in choices]
        if len(found) == 1:
            return found[0]
        for phrase, matches in zip(choices, found, strict=True):
            if len(matches) > 1:
                raise UsageError(
                    f"{' '.join(phrase)!r} is {' + '.join(map(str, matches))}: on both sides of"
                    " `or` stands one sound"
                )
        return [reduce(_join, (match for [match] in found))]

    def _sound(self, phrase: list[str]) -> list[Match]:
        """What a phrase stands for: one match, or some that have no name in common."""
        found: list[Match] = []
        while phrase:
            count, match = self._longest(phrase)
            phrase = phrase[count:]
            for place, other in enumerate(found):
                if set(match.names) & set(other.names):
                    found[place] = _narrow(other, match)
                    break
            else:
                found.append(match)
        return found

    def _longest(self, phrase: list[str]) -> tuple[int, Match]:
        """The most of a phrase's first words that stand for something, and for what."""
        spelt = [self._spell(word) for word in phrase]
        for count in range(len(phrase), 0, -1):
            match = self._known(phrase[:count])
            if match:
                return count, match
            match = self._known(spelt[:count])
            if match:
                text = " ".join(phrase[:count])
                return count, replace(match, words=text, how=How.SPELLING)
        raise UsageError(f"no name for {phrase[0]!r}; {self._near(phrase[0])}")

    def _known(self, phrase: list[str]) -> Match | None:
        """What a phrase as it is written stands for."""
        if not phrase:
            return None
        text = " ".join(phrase)
        written = frozenset(phrase)
        if written in self._written:
            return self._match(text, *self._written[written])
        for form in keys(phrase):
            if form in self._index:
                return self._match(text, *self._index[form])
        parts = key(phrase)
        longer = [label for label, own in self._keys.items() if parts <= own]
        return self._match(text, How.PART, longer)

    def _match(self, text: str, how: How, found: Iterable[str]) -> Match | None:
        reached = {name: self._reach(name) for name in found}
        names = dict.fromkeys(label for labels in reached.values() for label in labels)
        if not names:
            return None
        said = [self._label_of.get(name, name) for name, labels in reached.items() if labels]
        return Match(text, how, tuple(dict.fromkeys(said)), tuple(names))

    def _reach(self, name: str) -> list[str]:
        """The label of a name of the ontology, if there is one, and the labels below it."""
        own = [name] if name in self._keys else []
        nodes = [node for node, label in self._label_of.items() if label == name] if own else [name]
        below = [each for node in nodes for each in and_below(node)]
        return own + [self._label_of[each] for each in below if each in self._label_of]

    def _add(self, phrase: str, how: How, names: list[str]) -> None:
        there = [name for name in names if self._reach(name)]
        if not there:
            return
        self._phrases[plain(phrase)] = None
        own = words(phrase)
        forms = [(self._written, frozenset(own)), *((self._index, form) for form in keys(own))]
        for index, form in forms:
            first, known = index.setdefault(form, (how, []))
            if first is how:
                known += [name for name in there if name not in known]

    def _ontology_to_labels(self) -> dict[str, str]:
        """The label of each name of the ontology that has one: the same, or one that lists it."""
        by_key = {own: label for label, own in reversed(self._keys.items())}  # the first stands
        names = {key(words(name)) for name in children()}
        found = {}
        for name in children():
            own, *listed = _forms(name)
            forms = [own, *(form for form in listed if form not in names)]
            labels = [by_key[form] for form in forms if form in by_key]
            same = self._whole.get(plain(name))
            if same or labels:
                found[name] = same or labels[0]
        return found

    def _spell(self, word: str) -> str:
        """The word, or a known word with nearly the same spelling if it is not known itself."""
        if stem(word) in self._stems:
            return word
        near = process.extractOne(
            word, self._words, scorer=OSA.normalized_similarity, score_cutoff=MISSPELT
        )
        return near[0] if near else word

    def _near(self, word: str) -> str:
        """The end of a message about a word that leads to no name."""
        meant = [name for name in children() if key([word]) in _forms(name)]
        above = [parent for name in meant for parent in parents(name) if self._reach(parent)]
        alike = process.extract(
            word,
            list(self._phrases),
            scorer=OSA.normalized_similarity,
            score_cutoff=NEAR,
            limit=SAID,
        )
        near = list(dict.fromkeys([*above, *(phrase for phrase, _, _ in alike)]))
        if near:
            return f"near: {'; '.join(near)}"
        more = "; ..." if len(self.labels) > SAID else ""
        return f"there are: {'; '.join(self.labels[:SAID])}{more}"


def _forms(name: str) -> list[Key]:
    """The phrases of a name: itself and those that it lists."""
    return [key(words(phrase)) for phrase in (name, *alternatives(name))]


def _join(one: Match, other: Match) -> Match:
    """What either of two matches stands for."""
    found = tuple(dict.fromkeys(one.found + other.found))
    names = tuple(dict.fromkeys(one.names + other.names))
    return Match(f"{one.words} or {other.words}", one.how, found, names)


def _narrow(one: Match, other: Match) -> Match:
    """What two matches both stand for."""
    narrower, wider = sorted((one, other), key=lambda match: len(match.names))
    names = tuple(name for name in narrower.names if name in wider.names)
    found = tuple(name for name in narrower.found if name in names) or names
    return replace(narrower, words=f"{one.words} {other.words}", found=found, names=names)
