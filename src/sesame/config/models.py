"""Backbones: their sizes and switches."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from sesame.config.types import Above0, Count, Positive, Rate


class Transformer(Struct, frozen=True, kw_only=True, tag="transformer"):
    """One stack of Transformer blocks; the switches cover the published families (see models/zoo.py)."""

    layers: Positive = 12
    width: Positive = 768
    heads: Positive = 12
    head_width: Count = 0
    """Width of a head; 0 for width / heads (T5 11B's heads are wider than that)."""
    ffn: Positive = 3072
    gated: bool = False
    """The activated numbers of the feed-forward layer are multiplied by as many that are not (T5 1.1)."""
    groups: Count = 0
    """Groups of layers, each with one set of weights for all its layers (ALBERT has one); 0: each layer has its own."""
    inner: Positive = 1
    """Layers in that set, taken in turn."""
    bias: bool = True
    """Linear layers have biases; T5's have none."""
    input: Literal["tokens", "frames"] = "tokens"
    vocab: Count = 0
    """Size of the vocabulary; 0 takes the tokenizer's. For frames: unused."""
    features: Count = 0
    """Width of an input frame; 0 takes the data's. For tokens: unused."""
    embedding: Count = 0
    """Width of the embeddings, which a matrix then brings to `width` (ALBERT); 0 for `width`."""
    scale_embedding: bool = False
    """Token embeddings are multiplied by the root of their width (Vaswani et al. 2017, 3.4)."""
    positions: Count = 512
    """Rows of the learned position table; where positions are relative, what is read of a text at once."""
    kinds: Count = 2
    """Segment (token type) embeddings; 0 for none."""
    position: Literal["learned", "relative", "none"] = "learned"
    """relative: what attention scores gain by the distance of two positions, learned in buckets (T5)."""
    buckets: Positive = 32
    """Of relative positions: distances told apart."""
    farthest: Positive = 128
    """Distances from this one on are one bucket."""
    norm: Literal["post", "pre"] = "post"
    norm_kind: Literal["layer", "rms"] = "layer"
    """rms: RMSNorm, without mean and bias (T5)."""
    norm_eps: Above0 = 1e-12
    embedding_norm: bool = True
    scale_scores: bool = True
    """Attention scores are divided by the root of a head's width; T5's are not."""
    output: Literal["tied", "scaled", "untied"] = "tied"
    """What states are projected onto for words: the embeddings; the same, by states divided by the root of the width
    (T5); a matrix of its own (T5 1.1)."""
    causal: bool = False
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    dropout: Rate = 0.0
    attention_dropout: Rate = 0.0
    init: Above0 = 0.02
    """Standard deviation of the normal start of weights and embeddings."""
    start: Literal["normal", "mimetic", "copying"] = "normal"
    """mimetic: beside that, positions start as sinusoids and attention near the identity (Trockman & Kolter 2023).
    copying, of both stacks of an encoder-decoder: they start out copying the source (induction: Olsson et al. 2022)."""


class EncoderDecoder(Struct, frozen=True, kw_only=True, tag="encoder-decoder"):
    """Two stacks that share an embedding; the second also attends to the first (BART)."""

    encoder: Transformer
    decoder: Transformer


class ConvNet(Struct, frozen=True, kw_only=True, tag="convnet"):
    """A small residual conv net for images on a CPU."""

    channels: tuple[Positive, ...] = (32, 64, 128)
    """Of each stage; each but the first halves height and width."""
    in_channels: Count = 0
    """Channels of the images; 0 takes the data's, and 1 where nobody says."""
    stride: Positive = 1
    """Of the first convolution; 2 is for photos on a CPU: a quarter of the work."""


class ResNet(Struct, frozen=True, kw_only=True, tag="resnet"):
    """A residual network (He et al. 2016), as torchvision builds and names it, without its classifier."""

    depth: Literal[18, 34, 50] = 18
    stem: Literal["auto", "small", "large"] = "auto"
    """large: 7x7 with stride 2, then max-pooling; small: 3x3 with stride 1 alone, for small images; auto: small up to
    64x64."""
    in_channels: Count = 0
    """Channels of the images; 0 takes the data's, and 3 where nobody says."""
    image: Count = 0
    """Height and width of the images; 0 takes the data's."""


class ViT(Struct, frozen=True, kw_only=True, tag="vit"):
    """A vision transformer (Dosovitskiy et al. 2021): patches of an image are the positions of the one Transformer."""

    layers: Positive = 12
    width: Positive = 192
    heads: Positive = 3
    ffn: Positive = 768
    patch: Count = 0
    """Height and width of a patch; 0 for 16, and 4 for images up to 64x64."""
    image: Count = 0
    """Height and width of the images; 0 takes the data's."""
    in_channels: Count = 0
    """Channels of the images; 0 takes the data's, and 3 where nobody says."""
    norm_eps: Above0 = 1e-6
    dropout: Rate = 0.0


class WordVectors(Struct, frozen=True, kw_only=True, tag="word-vectors"):
    """A vector for every token, whatever stands beside it."""

    width: Positive = 100
    vocab: Count = 0
    """Size of the vocabulary; 0 takes the tokenizer's."""

    @property
    def layers(self) -> int:
        """Above the embeddings."""
        return 0

    @property
    def position(self) -> str:
        return "none"


class Elmo(Struct, frozen=True, kw_only=True, tag="elmo"):
    """Words from their characters, and LSTMs over them from both sides (Peters et al. 2018)."""

    filters: tuple[tuple[Positive, Positive], ...] = (
        (1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024),
    )  # fmt: skip
    """Convolutions over characters: (width, how many)."""
    character_width: Positive = 16
    longest: Annotated[int, Meta(ge=3)] = 50
    """Characters of a word, its begin and its end included; what is longer is cut."""
    highways: Count = 2
    width: Positive = 512
    """Of a word's vector and of each direction's states."""
    layers: Positive = 2
    cell: Positive = 4096
    clip: Annotated[float, Meta(ge=0)] = 3.0
    """Cells and states are kept within plus and minus this; 0 for never."""
    dropout: Rate = 0.1
    """Of what each layer reads."""
    vocab: Count = 0
    """Words whose spelling is known, and that are predicted; 0 takes the tokenizer's."""

    @property
    def position(self) -> str:
        return "none"


class Gru(Struct, frozen=True, kw_only=True, tag="gru"):
    """A stack of GRUs over frames, read from left to right, with residual connections (Chung et al. 2019)."""

    layers: Positive = 3
    width: Positive = 512
    features: Count = 0
    """Width of an input frame; 0 takes the data's."""
    dropout: Rate = 0.0
    """Of what each layer reads."""

    @property
    def position(self) -> str:
        return "none"

    @property
    def input(self) -> str:
        return "frames"

    @property
    def causal(self) -> bool:
        return True


class Upstream(Struct, frozen=True, kw_only=True, tag="upstream"):
    """A published network on sound, as `transformers` runs it; read, and never trained."""

    folder: str
    layers: Positive
    width: Positive

    @property
    def position(self) -> str:
        return "none"


Backbone = Transformer | EncoderDecoder | ConvNet | ResNet | ViT | WordVectors | Elmo | Gru | Upstream
