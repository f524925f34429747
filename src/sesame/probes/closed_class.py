"""Word classes that need no gold: closed classes of English, and what `ast` knows of documentation.

A word is in a list here if at least nine in ten of its occurrences in UD English EWT have that part of speech; of all
lower-case and capital forms together. Function words that have several are in no class. Every other word of letters is
a content word. In `pydocs`, names of the function's own parameters, names of objects that the module defines, and the
verb that a function's docstring begins with are classes too.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain

from sesame.data import pydocs, sentences
from sesame.data.text import TextSet
from sesame.errors import UserError
from sesame.probes.states import held_out_sentences
from sesame.probes.words import Asked, key_of, keyed_order

SENTENCES = 2000
"""A keyed choice of the held-out text, in which the words are found."""
_FEWEST_LISTED = 0.15
"""Share of a text's words that is in the lists where it is English; in English prose it is more than a quarter."""

LISTS = {
    "determiner": "the a an another each every some any",
    "conjunction": "and or but nor if whether unless although",
    "preposition": "of in for with on at from by into through during between against under within among throughout "
    "toward behind onto via except",
    "pronoun": "i you he she it we they me him her them my your his its our their myself yourself himself itself "
    "themselves someone something anyone anything everyone everything nobody nothing who whom whose",
    "auxiliary": "would could should might must will shall can be been was were is are",
    "adverb": "also just now really never still again always however already very too even ever then here often "
    "soon almost maybe perhaps usually sometimes instead therefore recently finally especially probably",
}
_CLASS = {word: group for group, listed in LISTS.items() for word in listed.split()}
_SEVERAL = """
that this these those all no both half such what which there to as than about up out over off after before since until
till like near around along across down upon below above inside outside beyond without not do does did done doing has
have had having am being may us one ones so only most more less least much many few other others own same when where
how why while because though once well back away yet quite rather either neither per plus else ago mr mrs dr
"""
_AMBIGUOUS = frozenset(_SEVERAL.split())
_WORD = re.compile(r"(?<!\w)(?<!\w['’])(?<!\w ['’] )\w+(?!\w)(?!['’]\w)(?! ['’] \w)")
"""What is no part of a contraction, however the tokenizer puts spaces around its apostrophe."""
_LETTERS = re.compile(r"[^\W\d_]{3,}")


def built_in(data: TextSet | None) -> list[Asked]:
    """Words of text that the run does not train on, with their classes. UserError where there is none, in English."""
    if data is None:
        raise UserError("word-classes: the run's data are not here to take words from. Give gold: word-classes=FILE.")
    if "pydocs" in data.store.source_names:
        return list(_documentation())
    found = list(_prose(data))
    listed = sum(one.group in LISTS for one in found)
    if not found or listed < _FEWEST_LISTED * len(found):
        raise UserError(
            f"word-classes: the built-in classes are English, and of {len(found):,} words of held-out text {listed:,} "
            "are in them. Give sentences with gold parts of speech: word-classes=FILE.conllu."
        )
    return found


def group_of(word: str) -> str:
    """The class of a word by itself; "" for none."""
    lower = word.lower()
    if lower in _CLASS:
        return _CLASS[lower]
    return "content word" if _LETTERS.fullmatch(word) and lower not in _AMBIGUOUS else ""


def _prose(data: TextSet) -> Iterator[Asked]:
    vocabulary = data.vocabulary
    unknown = vocabulary.ids.get("unk", -1)
    for sentence in held_out_sentences(data, SENTENCES):
        ids = list(chain.from_iterable(word.ids for word in sentence))
        if unknown not in ids:
            text = vocabulary.decode(ids).strip()
            for found in _WORD.finditer(text):
                if group := group_of(found.group()):
                    yield Asked(text, *found.span(), group)


# ----------------------------------------------------------------------------------------- documentation
def _documentation() -> Iterator[Asked]:
    """Sentences of the modules that are kept out of the corpus, each under the name and parameters it belongs to."""
    every = [(module, docstring) for module in pydocs.all_modules() for docstring in module.docstrings]
    verbs = _verbs(docstring for _, docstring in every)
    kept = [(m, d, number, sentence) for m, d in every if pydocs.splits()[m.name] != "train"
            for number, sentence in enumerate(sentences.split(d.text)) if ">>>" not in sentence]  # fmt: skip
    for place in keyed_order([key_of(docstring.text, number) for _, docstring, number, _ in kept])[:SENTENCES]:
        module, docstring, number, sentence = kept[place]
        sentence = " ".join(sentence.split())
        if pydocs.in_training_text(sentence):
            continue
        name = docstring.name.rpartition(".")[2]
        heading = f"{name}({docstring.signature})\n" if docstring.parameters else f"{name}\n" if name else ""
        for found in _WORD.finditer(sentence):
            word, (start, stop) = found.group(), found.span()
            opens = not number and not start and _is_function(name)
            if opens and word.lower() in verbs:
                group = "first verb"
            elif not (group := _CLASS.get(word.lower(), "")):
                group = _name_group(word, sentence[stop : stop + 1], docstring, module) or group_of(word)
            if group:
                yield Asked(heading + sentence, len(heading) + start, len(heading) + stop, group)


def _name_group(word: str, following: str, docstring: pydocs.Docstring, module: pydocs.Module) -> str:
    """Whether a word is a name; a plain lower-case word names an object only where it is called."""
    if word.lower() in _AMBIGUOUS:
        return ""
    if word in docstring.parameters:
        return "parameter"
    called = following == "(" or not re.fullmatch("[a-z]+", word)
    return "object" if word in module.defined and called else ""


def _verbs(docstrings: Iterator[pydocs.Docstring]) -> frozenset[str]:
    """Words that functions' docstrings begin with in both the forms that only verbs of English have there: at least
    twice as in "Return it", and as in "Returns it"."""
    first = Counter[str]()
    for docstring in docstrings:
        found = re.match(r"[A-Z][a-z]+\b", docstring.text)
        if found and _is_function(docstring.name.rpartition(".")[2]):
            first[found.group().lower()] += 1
    bases = {word for word in first if first[word] >= 2 and _third_person(word) in first and word not in _CLASS}
    return frozenset(bases | {_third_person(word) for word in bases})


def _is_function(name: str) -> bool:
    """Classes are written with a capital."""
    return name.strip("_")[:1].islower()


def _third_person(verb: str) -> str:
    if re.search("(s|sh|ch|x|z|o)$", verb):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search("[^aeiou]y$", verb) else f"{verb}s"
