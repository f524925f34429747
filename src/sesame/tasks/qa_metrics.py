"""How answers are scored: SQuAD's exact match and F1 for English, CMRC 2018's for Chinese.

Both take the best over the answers that people gave. They are written from the definitions, and give what the
official scripts give on the same predictions, but for what is said below.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

Score = tuple[float, float]
"""Exact match (0 or 1) and F1 (0 to 1)."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def squad_score(prediction: str, answers: Sequence[str]) -> Score:
    """SQuAD's (Rajpurkar et al. 2016, section 6.1; 2018). No answers: the question is impossible, and "" is right.

    Texts are compared in lower case, without ASCII punctuation, without a, an, the, and with single spaces. F1 is over
    bags of words; where one side has no word, it is 1 if both have none. Answers without a word are left out, as the
    script of 2.0 does; that of 1.1 keeps them, which matters only to predictions without a word.
    """
    said = normalised(prediction)
    golds = {gold for gold in map(normalised, answers) if gold} or {""}
    exact = max(float(said == gold) for gold in golds)
    return exact, max(_f1(said.split(), gold.split(), _common_words) for gold in golds)


def normalised(text: str) -> str:
    """`text` as SQuAD compares it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


_CHINESE = r"[\u4e00-\u9fa5]"
_MARKS = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
"""What CMRC's script takes for punctuation. Its list also has "……", which is two characters and so never met."""
_BY_ITSELF = r"\.{2,}|[;@#$%&?!()\[\]{}<>\"–—]|,(?!\d)|\.$"
_SEGMENT = re.compile(rf"{_BY_ITSELF}|(?:(?!{_BY_ITSELF})\S)+")


def cmrc_score(prediction: str, answers: Sequence[str]) -> Score:
    """CMRC 2018's (Cui et al. 2019, section 3; also used for DRCD). No answers: the question is impossible.

    Texts are compared in lower case and without punctuation. F1 is over the longest run of segments that both have
    (see `segments`); where one side has no segment, it is 1 if both have none.
    """
    said = _unmarked(prediction)
    golds = {_unmarked(answer) for answer in answers} or {""}
    exact = max(float(said == gold) for gold in golds)
    return exact, max(_f1(segments(said), segments(gold), _longest_run) for gold in golds)


def segments(text: str) -> list[str]:
    """A Chinese character (U+4E00 to U+9FA5) is a segment, and a run of anything else is cut as an English tokenizer
    would cut it.

    The script cuts such runs with NLTK's word tokenizer. Here they are cut at white space; each of ; @ # $ % & ? ! ( )
    [ ] { } < > " – — is a segment; so are several full stops in a row, one at the end of the run, and a comma unless a
    digit follows. NLTK besides cuts English contractions (don't), quotes in single marks, and at the ends of sentences.
    """
    found: list[str] = []
    for run in re.split(f"({_CHINESE})", text):
        found += _SEGMENT.findall(run.strip())
    return found


def _unmarked(text: str) -> str:
    return text.lower().strip().translate(_MARKS)


Common = Callable[[list[str], list[str]], int]


def _f1(said: list[str], gold: list[str], common: Common) -> float:
    """The harmonic mean of precision and recall: 2 x common / (said + gold)."""
    if not said or not gold:
        return float(said == gold)
    return 2 * common(said, gold) / (len(said) + len(gold))


def _common_words(said: list[str], gold: list[str]) -> int:
    return (Counter(said) & Counter(gold)).total()


def _longest_run(said: list[str], gold: list[str]) -> int:
    return SequenceMatcher(None, said, gold, autojunk=False).find_longest_match().size
