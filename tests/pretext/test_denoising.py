"""Denoising: what the encoder reads, what the decoder reads and writes, and that packing changes no loss."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_store import store_of
from small_text import VOCABULARY, packed, texts

from sesame import config, recipes
from sesame.data.batch import Cursor, Rows, TextBatch
from sesame.data.cutting import Pieces
from sesame.data.encode import SENTENCE, WORD
from sesame.data.text import TextSet, assemble
from sesame.errors import UserError
from sesame.models.encoder_decoder import EncoderDecoder
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective, Split
from sesame.pretext.denoising import Denoising

WORDS = VOCABULARY.with_sentinels(30)
STACK = {"layers": 1, "width": 16, "heads": 2, "ffn": 32, "vocab": WORDS.size, "positions": 64, "kinds": 0}
SEQ2SEQ = config.EncoderDecoder(encoder=config.Transformer(**STACK), decoder=config.Transformer(**STACK, causal=True))
TASKS = {
    "bart": config.Denoising(corruptions=(config.SentencePermutation(), config.TextInfilling())),
    "mass": config.Denoising(corruptions=(config.FragmentMasking(),), target="missing"),
    "t5": config.Denoising(corruptions=(config.SpanCorruption(),), target="missing"),
    "t5 separate": config.Denoising(corruptions=(config.SpanCorruption(independent=True),), target="missing"),
    "t5 bert style": config.Denoising(corruptions=(config.TokenMasking(random=0.1),)),
    "t5 drop": config.Denoising(corruptions=(config.TokenDeletion(),), target="missing"),
    "t5 prefix": config.Denoising(corruptions=(config.PrefixSplit(),), target="missing"),
    "both": config.Denoising(corruptions=(config.DocumentRotation(), config.FragmentMasking()), target="missing"),
}
SIZES = (9, 1, 13, 6, 3, 20)


def objective(c: config.Denoising) -> Objective:
    torch.manual_seed(0)
    backbone = EncoderDecoder(SEQ2SEQ)
    return Objective(backbone, Denoising(c, backbone, WORDS)).eval()


def split_of(c: config.Denoising, batch: TextBatch) -> Split:
    return objective(c).pretext.split(batch)


def pieces(split: Split, number: int) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Of one example: what the encoder reads; what the decoder reads, where, and writes; the rows they stand in."""
    encoder, decoder = split.seen
    here = decoder.example.flatten()[split.target["at"]] == number
    return (
        encoder.x[encoder.example == number].tolist(),
        decoder.x[decoder.example == number].tolist(),
        decoder.position[decoder.example == number].tolist(),
        split.target["written"][here].tolist(),
        [int(torch.nonzero(rows.example == number)[0, 0]) for rows in split.seen],
    )


@pytest.mark.parametrize("name", ["bart", "t5 bert style"])
def test_the_decoder_reads_the_original_one_step_late_behind_an_end_token(name: str) -> None:
    batch = packed(texts(*SIZES))
    split = split_of(TASKS[name], batch)
    for number in range(6):
        original = batch.ids[batch.example == number].tolist()
        read, late, position, written, rows = pieces(split, number)
        assert late == [WORDS.sep, *original[:-1]] and written == original
        assert position == list(range(len(original)))
        assert (read[0], read[-1]) == (WORDS.cls, WORDS.sep) and WORDS.mask in read
        assert set(rows) == set(np.nonzero(batch.example == number)[0])
    assert split.count == {"denoising": len(split.target["written"])} and len(batch.ids) == len(split.seen[0].x) < 6


@pytest.mark.parametrize("name", ["t5", "t5 separate", "t5 drop", "t5 prefix"])
def test_what_is_missing_is_written_behind_an_end_token_and_the_text_comes_together(name: str) -> None:
    batch = packed(texts(*SIZES))
    split = split_of(TASKS[name], batch)
    for number in range(6):
        original = batch.ids[batch.example == number].tolist()
        read, late, position, written, _ = pieces(split, number)
        assert late == [WORDS.sep, *written[:-1]] and written[-1] == WORDS.sep
        assert position == list(range(len(written)))
        assert sorted(read[1:-1] + written[:-1]) == sorted(original[1:-1] + sentinels(read) + sentinels(written))
        assert sentinels(written)[:-1] == sentinels(read) == WORDS.sentinels[: len(sentinels(read))].tolist()


def sentinels(ids: list[int]) -> list[int]:
    return [i for i in ids if i in WORDS.sentinels]


def test_mass_writes_the_fragment_alone_in_its_place() -> None:
    """What is written next to position p is the token at p + 1, and the decoder reads the one at p."""
    batch = packed(texts(*SIZES))
    split = split_of(TASKS["mass"], batch)
    for number, size in enumerate(split_sizes(batch)):
        original = batch.ids[batch.example == number]
        read, late, position, written, _ = pieces(split, number)
        assert len(written) == max(1, round(size / 2)) and len(read) == len(original)
        at = np.array(position)
        assert (np.diff(at) == 1).all()
        assert late == original[at].tolist() and written == original[at + 1].tolist()
        outside = np.setdiff1d(np.arange(len(original)), at + 1)
        assert np.array(read)[outside].tolist() == original[outside].tolist()


def split_sizes(batch: TextBatch) -> list[int]:
    return [int((batch.example == n).sum()) - 2 for n in range(len(batch.key))]


@pytest.mark.parametrize("name", TASKS)
@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_every_example_alone(name: str) -> None:
    whole = objective(TASKS[name])
    split = whole.pretext.split(packed(texts(*SIZES)))
    total = 0.0
    for number in range(6):
        pair = tuple(
            Rows(*(getattr(rows, f)[rows.example == number][None] for f in ("x", "position", "kind", "example")))
            for rows in split.seen
        )
        logits = whole.backbone(pair).last[0] @ whole.backbone.encoder.embed.token.weight.T
        total += float(F.cross_entropy(logits, torch.tensor(pieces(split, number)[3]), reduction="sum"))
    assert float(whole(split)["denoising"].sum) == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_other_documents_change_nothing_of_an_example(name: str) -> None:
    given, keys = texts(*SIZES), np.arange(6).astype(np.uint64)
    whole = split_of(TASKS[name], batch_of(given, keys))
    fewer = split_of(TASKS[name], batch_of(given[1::2], keys[1::2]))
    for number in range(3):
        assert pieces(whole, 2 * number + 1)[:4] == pieces(fewer, number)[:4]


def batch_of(given: list[np.ndarray], keys: np.ndarray) -> TextBatch:
    """One text a row; every fifth token starts a sentence."""
    sizes = np.array([len(t) for t in given])
    ids = np.concatenate(given)
    flags = np.concatenate([np.where(np.arange(n) % 5 == 0, WORD | SENTENCE, WORD) for n in sizes]).astype(np.uint8)
    rows = [[i] for i in range(len(given))]
    return assemble(rows, Pieces.singles(np.cumsum(sizes) - sizes, sizes, keys), ids, flags, WORDS, 24)


def test_sentences_are_those_of_the_store() -> None:
    given = texts(15)
    split = split_of(
        config.Denoising(corruptions=(config.SentencePermutation(),)), batch_of(given, np.arange(1).astype(np.uint64))
    )
    read = pieces(split, 0)[0][1:-1]
    parts = [given[0][i : i + 5].tolist() for i in (0, 5, 10)]
    orders = [[a, b, c] for a in range(3) for b in range(3) for c in range(3) if len({a, b, c}) == 3]
    assert read in [[t for i in order for t in parts[i]] for order in orders]


# ------------------------------------------------------------------------------------------------ mistakes
def test_what_cannot_be_done_is_said() -> None:
    backbone = EncoderDecoder(SEQ2SEQ)
    with pytest.raises(UserError, match="must be an encoder-decoder"):
        Denoising(config.Denoising(), Transformer(SEQ2SEQ.encoder), WORDS)
    with pytest.raises(UserError, match="nothing to mend"):
        Denoising(config.Denoising(corruptions=()), backbone, WORDS)
    with pytest.raises(UserError, match="nothing is missing after document-rotation"):
        Denoising(config.Denoising(corruptions=(config.DocumentRotation(),), target="missing"), backbone, WORDS)
    with pytest.raises(UserError, match=r"data\.sentinels 100"):
        Denoising(TASKS["t5"], backbone, VOCABULARY)


def test_any_store_works_and_too_few_sentinels_for_its_rows_are_said(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", [[[1] * 10, [2, 1, 1] * 5]] * 6)
    data = TextSet(store, config.TextData(store=str(tmp_path / "store"), length=24, rows=2, sentinels=3))
    assert data.vocabulary.size == store.vocabulary.size + 3 and len(store.vocabulary.sentinels) == 0
    stack = STACK | {"vocab": data.vocabulary.size}
    both = {n: config.Transformer(**stack, causal=n == "decoder") for n in ("encoder", "decoder")}
    backbone = EncoderDecoder(config.EncoderDecoder(**both))
    task = Denoising(TASKS["t5"], backbone, data.vocabulary)
    step = next(task.stream(data, 0).train(Cursor(), 0, 5, 1))
    assert float(Objective(backbone, task)(task.split(step.parts[0]))["denoising"].sum.detach()) > 0
    many = config.Denoising(corruptions=(config.SpanCorruption(rate=0.5, span=1.0),), target="missing")
    with pytest.raises(UserError, match=r"rows of 24 may need 12 sentinels.* has 3\..*data\.sentinels 12"):
        Denoising(many, backbone, data.vocabulary).stream(data, 0)


def test_sentinels_come_after_all_other_tokens_and_are_no_text() -> None:
    assert WORDS.sentinels.tolist() == list(range(VOCABULARY.size, VOCABULARY.size + 30))
    assert set(WORDS.sentinels) <= set(WORDS.special_ids)
    assert WORDS.with_sentinels(30) is WORDS
    more = WORDS.with_sentinels(31)
    assert more.sentinels.tolist() == [*WORDS.sentinels, WORDS.size]
    assert WORDS.encode_batch(["<extra_id_0>"]) != [[VOCABULARY.size]]
    assert WORDS.encode_batch(["<extra_id_0>"], special=True) == [[VOCABULARY.size]]


@pytest.mark.parametrize("name", ["bart-tiny", "bart-base", "bart-large", "mass-tiny", "t5-tiny"])
def test_recipes_are_values_that_can_be_written_and_read(name: str) -> None:
    recipe = recipes.find(name)
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=config.Recipe) == recipe


def test_bart_base_has_its_published_size() -> None:
    """139,420,416 parameters in `transformers`' BartModel, whose two position tables have two rows more each."""
    backbone = recipes.find("bart-base").backbone
    stacks = {s: msgspec.structs.replace(getattr(backbone, s), vocab=50_265) for s in ("encoder", "decoder")}
    with torch.device("meta"):
        made = EncoderDecoder(config.EncoderDecoder(**stacks))
    assert sum(p.numel() for p in made.parameters()) + 2 * 2 * made.width == 139_420_416
