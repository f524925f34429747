import numpy as np
import pytest
from small_store import random_documents, store_of

from sesame.pretext import word_vectors as room
from sesame.pretext.word_vectors import word_vectors

VOCAB = 60


def _information(store) -> np.ndarray:
    """The matrix that is factorised, pair by pair."""
    counts = np.zeros((VOCAB, VOCAB))
    for document in np.flatnonzero(~store.held_out):
        begin, end = store.offsets[document : document + 2].tolist()
        ids = store.ids[begin:end]
        for i in range(len(ids)):
            for j in range(max(0, i - room.WINDOW), min(len(ids), i + room.WINDOW + 1)):
                counts[ids[i], ids[j]] += i != j
    seen = counts.sum(1)
    context = seen**room.SMOOTHING / (seen**room.SMOOTHING).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(np.maximum(np.log(counts / np.outer(seen, context)), 0))


def test_products_of_vectors_are_those_of_the_best_factors_of_the_brute_force_matrix(tmp_path) -> None:
    store = store_of(tmp_path / "s", random_documents(40), held_out=0.2)
    assert store.held_out.any()
    u, s, _ = np.linalg.svd(_information(store))
    wanted = u[:, :16] * np.sqrt(s[:16])
    found = word_vectors(store, VOCAB, 16)
    seen = np.linalg.norm(wanted, axis=1) > 1e-9
    assert seen[5:].all() and not seen[:5].any() and not found[:5].any()  # the special tokens are in no text
    cosine = (found[seen] @ found[seen].T) / (16 * room.SIZE**2)
    unit = wanted[seen] / np.linalg.norm(wanted[seen], axis=1, keepdims=True)
    # A randomised SVD of a flat spectrum: close, not equal.
    assert np.corrcoef(cosine.ravel(), (unit @ unit.T).ravel())[0, 1] > 0.95


def test_every_vector_has_the_same_size_and_no_dimension_is_more_than_another(tmp_path) -> None:
    found = word_vectors(store_of(tmp_path / "s", random_documents(40)), VOCAB, 16)[5:]
    assert np.allclose(np.sqrt((found**2).mean(1)), room.SIZE, rtol=1e-4)
    assert (found**2).mean(0).max() < 4 * (found**2).mean()


def test_a_long_text_is_counted_in_part_and_evenly(tmp_path, monkeypatch) -> None:
    store = store_of(tmp_path / "s", random_documents(100))
    monkeypatch.setattr(room, "MOST", len(store.ids) // 3)
    ids, owner = room._training_text(store)
    assert 0.25 * len(store.ids) < len(ids) < 0.42 * len(store.ids)
    taken = np.unique(owner)
    assert np.diff(taken).max() <= 4 and taken[0] <= 3 and taken[-1] >= 96
    assert all(np.array_equal(ids[owner == d], store.ids[store.offsets[d] : store.offsets[d + 1]]) for d in taken)


@pytest.mark.parametrize("width", [16, 128])
def test_a_model_wider_than_the_vocabulary_gets_vectors_too(tmp_path, width: int) -> None:
    found = word_vectors(store_of(tmp_path / "s", random_documents(20)), VOCAB, width)
    assert found.shape == (VOCAB, width) and found[5:].any(1).all()
