"""First embeddings from counts: what stands near what, as vectors whose products say so.

Levy & Goldberg 2014 ("Neural word embedding as implicit matrix factorization"): skip-gram with negative sampling
factorises the matrix of pointwise mutual information. Factorised directly, it takes seconds instead of epochs.
"""

import logging

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from sesame.data.store import TokenStore
from sesame.errors import UserError
from sesame.models.transformer import Transformer
from sesame.pretext.base import Objective

log = logging.getLogger(__name__)

WINDOW = 5
"""Tokens to each side that count as near."""
SMOOTHING = 0.75
"""Exponent of the context's frequency (Levy, Goldberg & Dagan 2015): rare contexts would otherwise look telling."""
MOST = 4_000_000
"""Tokens that are counted: more change little."""
SIZE = 0.05
"""Root mean square of a vector's numbers."""


def word_vectors(store: TokenStore, vocabulary: int, width: int, seed: int = 0) -> Float32[np.ndarray, "vocab width"]:
    """A vector for every token of the text that is trained on; zeros for tokens that do not occur.

    Positive pointwise mutual information of tokens at most WINDOW apart in a document, factorised by a randomised SVD
    (Halko, Martinsson & Tropp 2011) into U·√S, which is turned at random, so that no dimension is more than another,
    and scaled row by row.
    """
    from scipy.sparse import csr_matrix
    from sklearn.utils.extmath import randomized_svd

    ids, document = _training_text(store)
    counts = csr_matrix((vocabulary, vocabulary), dtype=np.float32)
    for distance in range(1, min(WINDOW, len(ids) - 1) + 1):
        near = document[distance:] == document[:-distance]
        left, right = ids[:-distance][near], ids[distance:][near]
        counts = counts + csr_matrix((np.ones(len(left), np.float32), (left, right)), (vocabulary, vocabulary))
    table = (counts + counts.T).tocoo()
    seen = np.asarray(table.sum(1)).ravel()
    context = seen**SMOOTHING / max((seen**SMOOTHING).sum(), 1e-9)
    information = np.log(table.data / (seen[table.row] * context[table.col]))
    kept = information > 0
    rank = min(width, vocabulary - 1)
    matrix = csr_matrix(
        (information[kept].astype(np.float32), (table.row[kept], table.col[kept])), (vocabulary, vocabulary)
    )
    u, s, _ = randomized_svd(matrix, rank, n_iter=2, random_state=seed)
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]
    vectors = (u * np.sqrt(s)) @ turn[:rank]
    vectors[seen == 0] = 0  # but for what rounding leaves there
    return _sized(vectors)


def scaled(vectors: Float32[np.ndarray, "vocab width"]) -> Float32[np.ndarray, "vocab width"]:
    """Word vectors that were trained, as first embeddings: without their mean, which says nothing of any word, and of
    the same size as those from counts. Zeros stay zeros.
    """
    there = np.asarray(vectors.any(1))
    moved = np.zeros_like(vectors)
    if there.any():
        moved[there] = vectors[there] - vectors[there].mean(0)
    return _sized(moved)


def begin(
    objective: Objective, prepared: dict[str, np.ndarray], trained: Float[Tensor, "vocab width"], origin: str
) -> None:
    """Give the fresh weights of `objective` word vectors that were `trained` as first embeddings.

    They are centred and scaled as those from counts are; tokens that no text has moved stay random. `prepared` is what
    the pretext task prepares. Raises UserError where there are no such embeddings, or they have another width.
    """
    network = objective.backbone
    if not isinstance(network, Transformer) or network.config.input != "tokens":
        raise UserError(
            f"{origin} holds word vectors, which are the first embeddings of a Transformer over text alone."
        )
    weight = network.embed.token.weight
    if weight.shape[1] != trained.shape[1]:
        raise UserError(
            f"{origin} holds vectors of width {trained.shape[1]}, and this recipe reads embeddings of width "
            f"{weight.shape[1]}. Train them with: sesame pretrain cbow --backbone.width {weight.shape[1]} …"
        )
    size = min(len(weight), len(trained))  # tables may have more rows than the text has tokens
    vectors = scaled(trained[:size].detach().numpy())
    fresh = ~vectors.any(1)
    vectors[fresh] = weight[:size].detach().numpy()[fresh]
    objective.pretext.start(network, {**prepared, "vectors": vectors})
    with torch.no_grad():
        weight[:size] = torch.from_numpy(vectors)


def _sized(vectors: np.ndarray) -> Float32[np.ndarray, "vocab width"]:
    length = np.sqrt((vectors**2).mean(1, keepdims=True))
    return (SIZE * vectors / np.maximum(length, 1e-6)).astype(np.float32)


def _training_text(store: TokenStore) -> tuple[Int[np.ndarray, " token"], Int[np.ndarray, " token"]]:
    """At most about MOST tokens of whole documents that are trained on, evenly over the store, and whose they are."""
    trained: Bool[np.ndarray, " document"] = ~np.asarray(store.held_out)
    share = MOST / max(int(store.lengths[trained].sum()), 1)
    if share < 1:  # every n-th document or so
        trained &= np.floor(np.arange(len(trained)) * share) != np.floor((np.arange(len(trained)) - 1) * share)
    ids, owner = [], []
    for document in np.flatnonzero(trained):
        begin, end = store.offsets[document : document + 2].tolist()
        ids.append(np.asarray(store.ids[begin:end], np.int64))
        owner.append(np.full(end - begin, document))
    return np.concatenate(ids or [np.zeros(0, np.int64)]), np.concatenate(owner or [np.zeros(0, np.int64)])
