"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.minimax_h3_audio.net import MiniMaxH3AudioConfig

EXAMPLE = MiniMaxH3AudioConfig(
    *(4, (4, 8, 16), (2, 5), 16, 8, (12, 6, 3), (5, 2), (9, 4), (3, 5), ((1, 3), (1,)), True, 32_000)
)
DILATIONS = ((1, 3, 5),) * 3
PUBLISHED = {
    "MiniMax-H3 audio": MiniMaxH3AudioConfig(
        *(32, (64, 128, 256, 512, 1024, 2048), (2, 4, 4, 5, 5), 2048, 8, (1024, 512, 256, 128, 64, 32, 16, 8)),
        *((5, 5, 2, 2, 2, 2, 2), (9, 9, 4, 4, 4, 4, 4), (3, 7, 11), DILATIONS, True, 32_000),
    )
}
