"""A small config for the laws that hold for every family, and the published one."""

from vaekit.families.kvae_audio.net import KVAEAudioConfig

EXAMPLE = KVAEAudioConfig(1, 4, (8, 16, 32), (24, 12, 6), (2, 3), True, 48_000, 16, 8)
PUBLISHED = {
    "KVAE-Audio": KVAEAudioConfig(
        *(1, 64, (64, 128, 256, 512, 1024, 2048), (1536, 768, 384, 192, 96, 48), (2, 3, 4, 5, 8), True, 48_000),
        *(2048, 8),
    )
}
