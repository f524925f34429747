"""The likeliest next token, again and again: what an encoder-decoder writes for a text."""

from collections.abc import Sequence

import numpy as np
import torch

from sesame.data.batch import Rows
from sesame.data.layout import Layout, within
from sesame.data.tokenizer import Vocabulary
from sesame.models.cache import Cache
from sesame.models.encoder_decoder import EncoderDecoder


def start(vocabulary: Vocabulary) -> list[int]:
    """What a decoder is given before it writes: its first token, and the [CLS] that texts begin with (not T5's)."""
    return [vocabulary.decoder_begin, *vocabulary.begin]


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
    read = layout.write(np.concatenate(sources), within(size), size)[0].to(device)
    memory = model.encoder(read).last
    new = torch.tensor([list(prompt) or start(vocabulary)] * len(size), device=device)
    cache = Cache(len(model.decoder.order), new.shape[1] + most)
    going = torch.arange(len(size), device=device)
    found: list[list[int]] = [[] for _ in sources]
    for _ in range(most):
        example = torch.arange(len(going), device=device)[:, None].expand_as(new).contiguous()
        position = (cache.length + torch.arange(new.shape[1], device=device)).expand_as(new).contiguous()
        rows = Rows(new, position, torch.zeros_like(new), example, alone=True)
        states = model.decoder(rows, memory=memory, memory_rows=read, cache=cache)
        assert states.vocabulary is not None, "a decoder reads tokens"
        logits = states.last[:, -1] @ states.vocabulary[: vocabulary.size].T
        token = logits.argmax(-1)
        left = (token != vocabulary.sep).nonzero()[:, 0]
        for number, one in zip(going[left].tolist(), token[left].tolist(), strict=True):
            found[number].append(one)
        if not len(left):
            break
        if len(left) < len(going):  # texts that have ended are read no further
            going, memory = going[left], memory[left]
            cache.take(left)
        new = token[left, None]
    return found
