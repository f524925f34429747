"""How well written texts agree with the ones that were asked for. All take these first, and give shares in 0..1."""

import re
from collections.abc import Sequence

import numpy as np

_WORDS = re.compile(r"[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
"""Letters and digits that stand together; a Chinese character or a kana stands alone."""


class Words:
    """A tokenizer for rouge-score: its own way with English, which drops all other writing, and words of any other."""

    def tokenize(self, text: str) -> list[str]:
        return _WORDS.findall(text.lower())


def rouge(gold: Sequence[str], written: Sequence[str]) -> dict[str, float]:
    """The mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), without stemming, by the library rouge-score."""
    from rouge_score.rouge_scorer import RougeScorer

    names = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
    scorer = RougeScorer(list(names.values()), tokenizer=Words())
    found = [scorer.score(target, prediction) for target, prediction in zip(gold, written, strict=True)]
    return {ours: float(np.mean([score[theirs].fmeasure for score in found])) for ours, theirs in names.items()}


def bleu(gold: Sequence[str], written: Sequence[str], cased: bool = True) -> float:
    """BLEU of all texts together (Papineni et al. 2002) by the library sacrebleu, in its standard setting."""
    from sacrebleu.metrics import BLEU

    return float(BLEU(lowercase=not cased, force=True).corpus_score(list(written), [list(gold)]).score) / 100


def exact(gold: Sequence[str], written: Sequence[str], cased: bool = True) -> float:
    """The share of texts that are the same. White space does not count: not every tokenizer gives it back."""

    def bare(text: str) -> str:
        return "".join((text if cased else text.lower()).split())

    return float(np.mean([bare(a) == bare(b) for a, b in zip(gold, written, strict=True)]))
