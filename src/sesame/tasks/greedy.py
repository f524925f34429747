"""The likeliest next token, again and again: what an encoder-decoder writes for a text."""

from collections.abc import Sequence

import numpy as np
import torch

from sesame.data.batch import Rows
from sesame.data.layout import Layout, within
from sesame.data.tokenizer import Vocabulary
from sesame.models.encoder_decoder import EncoderDecoder


def start(vocabulary: Vocabulary) -> list[int]:
    """What a decoder is given before it writes: the end token, as in BART, and [CLS], which every text begins with."""
    return [vocabulary.sep, vocabulary.cls]


@torch.inference_mode()
def greedy(
    model: EncoderDecoder,
    vocabulary: Vocabulary,
    sources: Sequence[np.ndarray],
    most: int,
    prompt: Sequence[int] = (),
) -> list[list[int]]:
    """For each of `sources` (ids, [CLS] and [SEP] included) the ids of what is written, without start and end.

    It ends where the end token is the likeliest, or after `most` tokens. The sources are read together. `prompt` is
    what the decoder is given instead of `start`.
    """
    device = model.encoder.embed.token.weight.device
    size = np.array([len(source) for source in sources], np.int64)
    layout = Layout(np.arange(len(size)), len(size), vocabulary.pad)
    read, _ = layout.write(np.concatenate(sources), within(size), size)
    read = read.to(device)
    memory = model.encoder(read).last
    written = torch.tensor([list(prompt) or start(vocabulary)] * len(size), device=device)
    going = torch.arange(len(size), device=device)
    found: list[list[int]] = [[] for _ in sources]
    for _ in range(most):
        example, position = torch.arange(len(going), device=device), torch.arange(written.shape[1], device=device)
        rows = Rows(
            written,
            position.expand(len(going), -1).contiguous(),
            torch.zeros_like(written),
            example[:, None].expand_as(written).contiguous(),
            alone=True,
        )
        states = model.decoder(rows, memory=memory, memory_rows=read)
        assert states.vocabulary is not None, "a decoder reads tokens"
        logits = states.last[:, -1] @ states.vocabulary[: vocabulary.size].T
        token = logits.argmax(-1)
        left = token != vocabulary.sep
        for number, one in zip(going[left].tolist(), token[left].tolist(), strict=True):
            found[number].append(one)
        if not bool(left.any()):
            break
        going, memory = going[left], memory[left]
        written = torch.cat([written[left], token[left, None]], 1)
        numbers = torch.arange(len(going), device=device)
        kept = read.example[left]
        read = Rows(read.x[left], read.position[left], read.kind[left], torch.where(kept < 0, kept, numbers[:, None]))
    return found
