"""Word vectors: a table with a vector for every token, the same wherever it stands (Mikolov et al. 2013)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sesame import config
from sesame.data.batch import At, Rows
from sesame.models.base import Backbone, States


class Table(nn.Module):
    """The token embeddings."""

    def __init__(self, c: config.WordVectors):
        super().__init__()
        self.token = nn.Embedding(c.vocab, c.width)


class WordVectors(Backbone):
    """States are the vectors of the tokens themselves: there is no layer above them."""

    def __init__(self, c: config.WordVectors):
        super().__init__()
        self.config, self.width = c, c.width
        self.embed = Table(c)
        with torch.no_grad():  # word2vec's own start
            nn.init.uniform_(self.embed.token.weight, -0.5 / c.width, 0.5 / c.width)

    @property
    def token_vectors(self) -> Float[Tensor, "vocab width"]:
        return self.embed.token.weight

    def forward(self, inputs: Rows, at: At | None = None, layers: bool = False) -> States:
        x = inputs.x if at is None else inputs.x.flatten()[at.places(inputs.x.shape[1])]
        h = self.embed.token(x)
        return States(h, (h,) if layers else (), inputs.valid, self.embed.token.weight)
