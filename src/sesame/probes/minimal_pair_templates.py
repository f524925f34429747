"""Minimal pairs of English, made of common words: two sentences that differ in one thing, of which one is wrong.

The kinds of knowledge are those that such tests usually ask for (Linzen et al. 2016; Marvin & Linzen 2018; Warstadt et
al. 2020). Wherever a number is at stake, singular and plural are right equally often, so that frequency gains little.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sesame.data import chance

T = TypeVar("T")
Forms = tuple[str, str]
"""Of a noun or a verb: singular, plural."""


@dataclass(frozen=True)
class Pair:
    good: str
    bad: str
    group: str
    """The phenomenon."""


def pairs(count: int) -> list[Pair]:
    """`count` different pairs of each phenomenon. Those of a smaller count are the first of a larger one."""
    made: list[Pair] = []
    for name, make in PHENOMENA.items():
        found: dict[Forms, None] = {}
        number = 0
        while len(found) < count:
            found[make(Draw(name, number))] = None
            number += 1
        made += [Pair(_sentence(good), _sentence(bad), name) for good, bad in found]
    return made


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


class Draw:
    """Keyed choices for one pair."""

    def __init__(self, phenomenon: str, number: int):
        self.bits = int(chance.bits("minimal pair", chance.purpose_key(phenomenon), number))

    def of(self, things: Sequence[T]) -> T:
        self.bits, chosen = divmod(self.bits, len(things))  # 64 bits are more than the choices of any pair need
        return things[chosen]

    def number(self) -> tuple[int, int]:
        """Singular and plural (0, 1), in either order: what is right, and what is not."""
        return self.of(((0, 1), (1, 0)))


# ---------------------------------------------------------------------------------------------- vocabulary
def _words(listed: str) -> list[str]:
    return listed.split()


def _forms(listed: str) -> list[Forms]:
    return [(one, many) for one, _, many in (entry.partition("/") for entry in listed.split())]


MEN = _forms("boy/boys man/men king/kings brother/brothers father/fathers son/sons uncle/uncles husband/husbands")
WOMEN = _forms("girl/girls woman/women queen/queens sister/sisters mother/mothers daughter/daughters wife/wives")
OTHERS = _forms("child/children teacher/teachers doctor/doctors friend/friends student/students writer/writers")
PEOPLE = [*MEN, *WOMEN, *OTHERS]
THINGS = _forms(
    "book/books house/houses car/cars door/doors letter/letters picture/pictures table/tables tree/trees road/roads "
    "ship/ships room/rooms window/windows horse/horses chair/chairs box/boxes"
)
ACTS = _forms(
    "walks/walk sleeps/sleep sings/sing works/work waits/wait runs/run speaks/speak plays/play comes/come stays/stay"
)
LIKES = _forms("likes/like sees/see knows/know helps/help follows/follow loves/love needs/need wants/want")
BE = [("is", "are"), ("was", "were")]
POINTING = [("this", "these"), ("that", "those"), ("one", "two")]
ME = [("he", "him"), ("she", "her"), ("they", "them"), ("we", "us"), ("I", "me")]
TAKEN = _forms(
    "saw/seen took/taken gave/given wrote/written knew/known ate/eaten broke/broken chose/chosen forgot/forgotten"
)
"""Past, participle."""
NOBODY = [("nobody", "everybody"), ("nobody", "somebody")]
VOWEL = _words("apple egg island army animal office engine artist answer old-book old-house")
CONSONANT = _words("book house car letter table doctor garden village big-apple new-engine")
A_OR_AN = [("an", "a", word) for word in VOWEL] + [("a", "an", word) for word in CONSONANT]

MASS = _words("water money milk gold rain time work music food sand")
STATES = _words("old new big small good dark heavy beautiful different important")
QUALITIES = _words("old young good great strong little poor happy")
HELPED = _words("saw helped knew followed loved met found called asked watched")
BOUGHT = _words("saw found bought sold lost wanted kept liked needed remembered")
BESIDE = _words("near behind beside under by with")
MODALS = _words("can will must should would could")
WHEN = ["today", "here", "there", "now", "every day", "in the house", "in the city", "at night", "all day"]
SOMEONE = ["the teacher", "the doctor", "my friend", "his brother", "her sister", "the old man", "the young woman"]


# ---------------------------------------------------------------------------------------------- phenomena
def _agreement(draw: Draw) -> Forms:
    """The boys walk every day. The boys walks every day."""
    right, wrong = draw.number()
    who, act, when = draw.of(PEOPLE), draw.of(ACTS), draw.of(WHEN)
    return f"the {who[right]} {act[right]} {when}", f"the {who[right]} {act[wrong]} {when}"


def _attractor(draw: Draw) -> Forms:
    """The book near the doors is old. The book near the doors are old."""
    right, wrong = draw.number()
    what, near, other = draw.of(THINGS), draw.of(BESIDE), draw.of(THINGS)
    be, state = draw.of(BE), draw.of(STATES)
    start = f"the {what[right]} {near} the {other[wrong]}"
    return f"{start} {be[right]} {state}", f"{start} {be[wrong]} {state}"


def _across_clause(draw: Draw) -> Forms:
    """The boy that the teachers like sings today. The boy that the teachers like sing today."""
    right, wrong = draw.number()
    who, other, like = draw.of(PEOPLE), draw.of(PEOPLE), draw.of(LIKES)
    act, when = draw.of(ACTS), draw.of(WHEN)
    start = f"the {who[right]} that the {other[wrong]} {like[wrong]}"
    return f"{start} {act[right]} {when}", f"{start} {act[wrong]} {when}"


def _determiner(draw: Draw) -> Forms:
    """The doctor bought these books. The doctor bought these book."""
    right, wrong = draw.number()
    who, bought, this, what = draw.of(SOMEONE), draw.of(BOUGHT), draw.of(POINTING), draw.of(THINGS)
    start = f"{who} {bought} {this[right]}"
    return f"{start} {what[right]}", f"{start} {what[wrong]}"


def _reflexive(draw: Draw) -> Forms:
    """The queen saw herself. The queen saw himself. The kings saw themselves. The kings saw himself."""
    right, _ = draw.number()
    people, own, other = draw.of(((MEN, "himself", "herself"), (WOMEN, "herself", "himself")))
    start = f"the {draw.of(QUALITIES)} {draw.of(people)[right]} {draw.of(HELPED)}"
    good, bad = ("themselves", own) if right else (own, draw.of((other, "themselves")))
    return f"{start} {good}", f"{start} {bad}"


def _case(draw: Draw) -> Forms:
    """The doctor saw him. The doctor saw he. He saw the doctor. Him saw the doctor."""
    (he, him), someone, saw = draw.of(ME), draw.of(SOMEONE), draw.of(HELPED)
    if draw.of((True, False)):
        return f"{someone} {saw} {him}", f"{someone} {saw} {he}"
    return f"{he} {saw} {someone}", f"{him} {saw} {someone}"


def _verb_form(draw: Draw) -> Forms:
    """The boy can walk here. The boy can walks here. The boys have seen the car. The boys have saw the car."""
    number, _ = draw.number()
    who = draw.of(PEOPLE)[number]
    if draw.of((True, False)):
        can, act, when = draw.of(MODALS), draw.of(ACTS), draw.of(WHEN)
        return f"the {who} {can} {act[1]} {when}", f"the {who} {can} {act[0]} {when}"
    past, participle = draw.of(TAKEN)
    start, what = f"the {who} {('has', 'have')[number]}", draw.of(THINGS)[0]
    return f"{start} {participle} the {what}", f"{start} {past} the {what}"


def _polarity(draw: Draw) -> Forms:
    """Nobody has ever seen the car. Somebody has ever seen the car."""
    person = draw.of(PEOPLE)[0]
    no, some = draw.of([*NOBODY, (f"no {person}", f"every {person}"), (f"no {person}", f"some {person}")])
    rest = f"has ever {draw.of(TAKEN)[1]} the {draw.of(THINGS)[0]}"
    return f"{no} {rest}", f"{some} {rest}"


def _article(draw: Draw) -> Forms:
    """The doctor bought an apple. The doctor bought a apple."""
    good, bad, what = draw.of(A_OR_AN)
    start, what = f"{draw.of(SOMEONE)} {draw.of(BOUGHT)}", what.replace("-", " ")
    return f"{start} {good} {what}", f"{start} {bad} {what}"


def _quantity(draw: Draw) -> Forms:
    """There is not much water here. There is not many water here."""
    be, when = draw.of(BE), draw.of(WHEN)
    if draw.of((True, False)):
        what = draw.of(MASS)
        return f"there {be[0]} not much {what} {when}", f"there {be[0]} not many {what} {when}"
    what = draw.of(THINGS)[1]
    return f"there {be[1]} not many {what} {when}", f"there {be[1]} not much {what} {when}"


def _order(draw: Draw) -> Forms:
    """The old man walks here. The man old walks here."""
    number, _ = draw.number()
    who, act, when = draw.of(PEOPLE)[number], draw.of(ACTS)[number], draw.of(WHEN)
    quality = draw.of(QUALITIES)
    return f"the {quality} {who} {act} {when}", f"the {who} {quality} {act} {when}"


PHENOMENA: dict[str, Callable[[Draw], Forms]] = {
    "subject-verb agreement": _agreement,
    "agreement past a noun": _attractor,
    "agreement past a clause": _across_clause,
    "determiner-noun agreement": _determiner,
    "reflexive pronoun": _reflexive,
    "pronoun case": _case,
    "verb form": _verb_form,
    "negative polarity": _polarity,
    "a or an": _article,
    "much or many": _quantity,
    "adjective before noun": _order,
}
