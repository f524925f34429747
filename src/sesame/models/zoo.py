"""Published sizes: a table, with the exact number of parameters of each."""

from msgspec import Struct

from sesame.config import Transformer


class Published(Struct, frozen=True):
    """One published model."""

    backbone: Transformer
    parameters: int
    """Exact count of the published encoder (BERT: with its pooler, without the pretraining heads)."""
    source: str


def _bert(layers: int, width: int, vocab: int = 30_522) -> Transformer:
    """Every BERT: heads of 64, a feed-forward four times as wide, 512 positions, two kinds of segment."""
    return Transformer(layers=layers, width=width, heads=width // 64, ffn=4 * width, vocab=vocab)


def _gpt2(layers: int, width: int) -> Transformer:
    return Transformer(
        layers=layers,
        width=width,
        heads=width // 64,
        ffn=4 * width,
        vocab=50_257,
        positions=1024,
        kinds=0,
        norm="pre",
        norm_eps=1e-5,
        embedding_norm=False,
        causal=True,
        activation="gelu_tanh",
    )


_MINIATURES = "Turc et al. 2019, table 1"
_BERT = "Devlin et al. 2019, section 3"
_GPT2 = "Radford et al. 2019, table 2"

ZOO: dict[str, Published] = {
    "bert-tiny": Published(_bert(2, 128), 4_385_920, _MINIATURES),
    "bert-mini": Published(_bert(4, 256), 11_170_560, _MINIATURES),
    "bert-small": Published(_bert(4, 512), 28_763_648, _MINIATURES),
    "bert-medium": Published(_bert(8, 512), 41_373_184, _MINIATURES),
    "bert-base": Published(_bert(12, 768), 109_482_240, _BERT),
    "bert-large": Published(_bert(24, 1024), 335_141_888, _BERT),
    "bert-base-chinese": Published(_bert(12, 768, 21_128), 102_267_648, "google-research/bert"),
    "bert-multilingual": Published(_bert(12, 768, 119_547), 177_853_440, "google-research/bert, cased"),
    "gpt2": Published(_gpt2(12, 768), 124_439_808, _GPT2),
    "gpt2-medium": Published(_gpt2(24, 1024), 354_823_168, _GPT2),
    "gpt2-large": Published(_gpt2(36, 1280), 774_030_080, _GPT2),
    "gpt2-xl": Published(_gpt2(48, 1600), 1_557_611_200, _GPT2),
}
