"""EncoderDecoder: packed rows are the examples one by one and transformers' BART; one embedding under one name."""

import msgspec
import pytest
import torch
from torch import nn
from transformers import BartConfig, BartModel

from sesame import config
from sesame.data.batch import Rows
from sesame.errors import UserError
from sesame.models.encoder_decoder import EncoderDecoder

STACK = config.Transformer(
    layers=2, width=32, heads=4, ffn=64, vocab=50, positions=24, kinds=0, norm_eps=1e-5, init=0.2
)
BOTH = config.EncoderDecoder(encoder=STACK, decoder=msgspec.structs.replace(STACK, causal=True))
SOURCE, TARGET = (5, 3, 9), (4, 8, 6)


def model() -> EncoderDecoder:
    torch.manual_seed(0)
    made = EncoderDecoder(BOTH).eval()
    for name, p in made.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(p, std=0.2)
    return made


def layout(sizes: tuple[int, ...], rows: list[list[int]], seed: int) -> Rows:
    """Examples of the sizes given, packed into rows as `rows` lists them."""
    torch.manual_seed(seed)
    ids = [torch.randint(5, 50, (size,)) for size in sizes]
    width = max(sum(sizes[e] for e in row) for row in rows) + 1
    x, position = (torch.zeros((len(rows), width), dtype=torch.int64) for _ in range(2))
    example = torch.full_like(x, -1)
    for r, row in enumerate(rows):
        at = 0
        for e in row:
            here = slice(at, at + sizes[e])
            x[r, here], position[r, here], example[r, here] = ids[e], torch.arange(sizes[e]), e
            at += sizes[e]
    return Rows(x, position, torch.zeros_like(x), example)


def single(rows: Rows, number: int) -> Rows:
    here = rows.example == number
    return Rows(rows.x[here][None], rows.position[here][None], rows.kind[here][None], rows.example[here][None], True)


@torch.no_grad()
def test_packed_rows_are_the_examples_one_by_one() -> None:
    both, rows = model(), [[0, 1], [2]]
    source, target = layout(SOURCE, rows, 1), layout(TARGET, rows, 2)
    states = both((source, target))
    assert states.memory is not None
    for number in range(3):
        alone = both((single(source, number), single(target, number)))
        assert alone.memory is not None
        torch.testing.assert_close(states.last[target.example == number], alone.last[0], atol=1e-5, rtol=1e-5)
        memory = states.memory.last[source.example == number]
        torch.testing.assert_close(memory, alone.memory.last[0], atol=1e-5, rtol=1e-5)


def copied(own: nn.Module, name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": own.weight.detach(), f"{name}.bias": own.bias.detach()}


def bart(both: EncoderDecoder) -> BartModel:
    """transformers' BART with the same weights; its position tables begin with two rows that nothing reads."""
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in (("layers", 2), ("ffn_dim", 64))}
    sizes |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4}
    theirs = BartModel(
        BartConfig(vocab_size=50, d_model=32, max_position_embeddings=24, activation_function="gelu", **sizes)
    ).eval()
    token = both.encoder.embed.token.weight.detach()
    state = {"shared.weight": token, "encoder.embed_tokens.weight": token, "decoder.embed_tokens.weight": token}
    for side, stack in (("encoder", both.encoder), ("decoder", both.decoder)):
        table = stack.embed.position.weight.detach()
        state[f"{side}.embed_positions.weight"] = torch.cat([torch.zeros(2, 32), table])
        state |= copied(stack.embed.norm, f"{side}.layernorm_embedding")
        for i, block in enumerate(stack.blocks):
            here = f"{side}.layers.{i}"
            for letter, w, b in zip(
                "qkv", block.attention.qkv.weight.chunk(3), block.attention.qkv.bias.chunk(3), strict=True
            ):
                state |= {f"{here}.self_attn.{letter}_proj.weight": w, f"{here}.self_attn.{letter}_proj.bias": b}
            state |= copied(block.attention.out, f"{here}.self_attn.out_proj")
            state |= copied(block.attention.norm, f"{here}.self_attn_layer_norm")
            state |= copied(block.ffn.up, f"{here}.fc1") | copied(block.ffn.down, f"{here}.fc2")
            state |= copied(block.ffn.norm, f"{here}.final_layer_norm")
            if block.cross is not None:
                state |= copied(block.cross.q, f"{here}.encoder_attn.q_proj")
                for letter, w, b in zip(
                    "kv", block.cross.kv.weight.chunk(2), block.cross.kv.bias.chunk(2), strict=True
                ):
                    state |= {f"{here}.encoder_attn.{letter}_proj.weight": w}
                    state |= {f"{here}.encoder_attn.{letter}_proj.bias": b}
                state |= copied(block.cross.out, f"{here}.encoder_attn.out_proj")
                state |= copied(block.cross.norm, f"{here}.encoder_attn_layer_norm")
    theirs.load_state_dict(state)
    return theirs


@torch.no_grad()
def test_packed_states_are_those_of_transformers_bart() -> None:
    both, rows = model(), [[0, 1], [2]]
    source, target = layout(SOURCE, rows, 1), layout(TARGET, rows, 2)
    theirs, states = bart(both), both((source, target))
    for number in range(3):
        expected = theirs(input_ids=single(source, number).x, decoder_input_ids=single(target, number).x)
        ours = states.last[target.example == number]
        torch.testing.assert_close(ours, expected.last_hidden_state[0], atol=1e-4, rtol=1e-4)


def test_the_embedding_is_one_parameter_with_one_name_that_both_stacks_train() -> None:
    both = model()
    names = [name for name in both.state_dict() if "embed.token" in name]
    assert names == ["encoder.embed.token.weight"]
    source, target = layout(SOURCE, [[0, 1, 2]], 1), layout(TARGET, [[0, 1, 2]], 2)
    both((source, target)).last.square().sum().backward()
    trained = both.encoder.embed.token.weight.grad.any(1).nonzero()[:, 0].tolist()
    only_written = set(target.x.flatten().tolist()) - set(source.x.flatten().tolist())
    assert only_written and set(trained) == set(source.x.flatten().tolist()) | only_written


def test_hidden_states_of_both_stacks_are_there_when_asked_for() -> None:
    states = model()((layout(SOURCE, [[0, 1, 2]], 1), layout(TARGET, [[0, 1, 2]], 2)), layers=True)
    assert states.memory is not None
    assert len(states.layers) == len(states.memory.layers) == 3
    assert torch.equal(states.layers[-1], states.last)


@pytest.mark.parametrize(
    ("encoder", "decoder", "match"),
    [
        ({}, {"width": 16}, "width"),
        ({}, {"vocab": 51}, "vocab"),
        ({"causal": True}, {}, "causal"),
        ({}, {"causal": False}, "causal"),
        ({"input": "frames", "features": 4}, {"input": "frames", "features": 4}, "tokens"),
    ],
)
def test_stacks_that_do_not_belong_together_are_refused(
    encoder: dict[str, object], decoder: dict[str, object], match: str
) -> None:
    both = config.EncoderDecoder(
        encoder=msgspec.structs.replace(BOTH.encoder, **encoder),
        decoder=msgspec.structs.replace(BOTH.decoder, **decoder),
    )
    with pytest.raises(UserError, match=match):
        EncoderDecoder(both)
