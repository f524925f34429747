"""What is spoken where speech is synthesised: orders to a house, words by themselves, sentences of pydocs."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sesame.data import chance, pydocs, sentences

ACTIONS = {
    "activate": ("turn on", "switch on", "start"),
    "deactivate": ("turn off", "switch off", "stop"),
    "increase": ("turn up", "raise", "increase"),
    "decrease": ("turn down", "lower", "decrease"),
    "check": ("check", "look at", "tell me about"),
}
OBJECTS = ("lights", "heating", "music", "fan", "radio", "television", "oven", "blinds")
PLACES = ("", "kitchen", "bedroom", "bathroom", "hall", "office", "garden")
FRAMES = ("{}", "please {}", "{} please", "could you {}", "now {}", "I want you to {}")

WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"),
)

SHORTEST, LONGEST = 20, 120
"""Characters of a sentence that is spoken."""


@dataclass(frozen=True)
class Prompt:
    text: str
    fields: dict[str, str]
    """What is known of it; `label` among them where there is one that suits."""


def prompts(says: str, count: int, seed: int) -> list[Prompt]:
    """So many, each drawn by the seed and its number."""
    return _KINDS[says](np.arange(count), seed)


def _commands(number: np.ndarray, seed: int) -> list[Prompt]:
    """An order has an action, an object and a place, as in spoken language understanding; the action is the label."""

    def drawn(n: int, what: str) -> list[int]:
        found: list[int] = chance.integers(n, f"command {what}", seed, number).tolist()
        return found

    made = []
    choices = zip(
        *(drawn(len(of), what) for of, what in ((ACTIONS, "action"), (OBJECTS, "object"), (PLACES, "place"))),
        *(drawn(n, what) for n, what in ((3, "verb"), (len(FRAMES), "frame"))),
        strict=True,
    )
    for action, thing, place, verb, frame in choices:
        name, said = list(ACTIONS)[action], PLACES[place]
        order = f"{ACTIONS[name][verb]} the {OBJECTS[thing]}" + (f" in the {said}" if said else "")
        fields = {"label": name, "action": name, "object": OBJECTS[thing], "place": said or "anywhere"}
        made.append(Prompt(FRAMES[frame].format(order), fields))
    return made


def _words(number: np.ndarray, seed: int) -> list[Prompt]:
    """Digits and short orders, each by itself and its own label."""
    chosen = chance.integers(len(WORDS), "word", seed, number).tolist()
    return [Prompt(WORDS[i], {"label": WORDS[i], "word": WORDS[i]}) for i in chosen]


def _pydocs(number: np.ndarray, seed: int) -> list[Prompt]:
    """Sentences of plain words; all of them are spoken before one is spoken again."""
    known = _plain_sentences()
    turn = number // len(known)
    place = np.concatenate(
        [chance.permute(number[turn == t] % len(known), len(known), "sentence", seed, int(t)) for t in np.unique(turn)]
    )
    return [Prompt(known[i], {}) for i in place.tolist()]


def _plain_sentences() -> list[str]:
    plain = re.compile(r"[A-Z][a-z]*(?:,? [a-z]+|,? I|,? [a-z]+-[a-z]+)+[.!?]")
    found: dict[str, None] = {}
    for _, text in pydocs.documents():
        for sentence in sentences.split(text):
            said = " ".join(sentence.split())
            if SHORTEST <= len(said) <= LONGEST and plain.fullmatch(said):
                found[said] = None
    return list(found)


_KINDS: dict[str, Callable[[np.ndarray, int], list[Prompt]]] = {
    "commands": _commands,
    "words": _words,
    "pydocs": _pydocs,
}
