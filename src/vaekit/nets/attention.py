"""Transformer blocks with learned positions: normalization first (Xiong et al. 2020, arXiv 2002.04745)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Blocks(nn.Module):
    """Vectors (b, t, w) -> (b, t, w).

    Args:
        width: w.
        heads: of the attention; they divide the width.
        layers: the number of blocks.
        length: the maximum number of positions.
        dropout: the probability of hiding an element of what a block adds.
    """

    def __init__(self, width: int, heads: int, layers: int, length: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.positions = nn.Embedding(length, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.heads = heads
        self.layers = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    @property
    def _blocks(self) -> list["Block"]:
        return [block for block in self.layers if isinstance(block, Block)]

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attention to all positions, to those of a mask (b, 1, 1, t), or to earlier ones."""
        x = x + self.positions.weight[: x.shape[1]]
        for block in self._blocks:
            x = x + block.attended(block.norm1(x), mask, causal)
            x = x + block.changed(block.norm2(x))
        return self.norm(x)

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """One more position.

        Args:
            x: its vectors (b, w).
            cache: keys and values of the earlier positions, (b, layers, 2, heads, t, w / heads).

        Returns:
            Its output (b, w), and the cache with this position.
        """
        position = cache.shape[4]
        h = (x + self.positions.weight[position]).unsqueeze(1)
        grown = []
        for number, block in enumerate(self._blocks):
            q, k, v = block.projected(block.norm1(h))
            keys_values = torch.cat([cache[:, number], torch.stack([k, v], dim=1)], dim=3)
            grown.append(keys_values)
            h = h + block.merged(F.scaled_dot_product_attention(q, keys_values[:, 0], keys_values[:, 1]))
            h = h + block.changed(block.norm2(h))
        return self.norm(h).squeeze(1), torch.stack(grown, dim=1)

    def empty_cache(self, like: Tensor) -> Tensor:
        """The cache before the first position of a batch of vectors (b, w)."""
        return like.new_zeros(len(like), len(self.layers), 2, self.heads, 0, like.shape[1] // self.heads)


class Block(nn.Module):
    """Attention and a network of two layers. See `Blocks`."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def projected(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (b, heads, t, w / heads)."""
        q, k, v = self.query_key_value(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def merged(self, x: Tensor) -> Tensor:
        """Outputs of the heads (b, heads, t, w / heads) -> (b, t, w)."""
        return self.dropout(self.out(x.transpose(1, 2).flatten(2)))

    def attended(self, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Attention, (b, t, w)."""
        q, k, v = self.projected(x)
        return self.merged(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal))

    def changed(self, x: Tensor) -> Tensor:
        """The network, (b, t, w)."""
        return self.dropout(self.network(x))
