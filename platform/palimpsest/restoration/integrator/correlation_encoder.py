"""Correlation encoder: features of each pixel group, attention across the groups, projection to a latent space.

A group knows its own spectrum and scatter; attention lets it see which other groups resemble it (of its own cube, or of
the other cubes restored with it), so that a judgement may lean on the whole pile and not on one corner of one scene.
"""

from __future__ import annotations

from torch import Tensor, nn

from palimpsest.restoration.study.context import GROUP_FEATURES


class CorrelationEncoder(nn.Module):
    """Groups ``(group, GROUP_FEATURES)`` to latents ``(group, width)``.

    Args:
        width: of the latent space.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(GROUP_FEATURES, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, groups: Tensor, scene: Tensor | None = None) -> Tensor:
        """Latents of the groups of one pile; of several where ``scene`` ``(group,)`` numbers them."""
        strangers = None if scene is None else scene[:, None] != scene
        tokens = self.features(groups)[None]  # (1, group, width)
        normed = self.norm(tokens)
        mixed, _ = self.attention(normed, normed, normed, need_weights=False, attn_mask=strangers)
        latent: Tensor = self.projection(tokens + mixed)[0]
        return latent
