"""Shapes in signatures are checked while the tests run: the hook must be in place before sesame is imported."""

from jaxtyping import install_import_hook

install_import_hook("sesame", "beartype.beartype")
