"""One small config of each family; a new family adds its own."""

import dataclasses

from vaekit.families import Config
from vaekit.families.approx.net import ApproxConfig
from vaekit.families.asymmetric.net import AsymmetricConfig
from vaekit.families.burgess.net import BurgessConfig
from vaekit.families.dcae.net import DCAEConfig
from vaekit.families.hunyuan_image.net import HunyuanImageConfig
from vaekit.families.joint.net import JointConfig
from vaekit.families.kl.net import KLConfig
from vaekit.families.tiny.net import TinyConfig
from vaekit.families.vq.net import VQConfig
from vaekit.families.wan.net import WanConfig
from vaekit.families.wan22.net import Wan22Config

KL = KLConfig(3, 4, 4, (32, 64), (32, 64), 1, 2, (1,), (1,), True, True, True, 32)
EXAMPLES: dict[str, Config] = {
    "kl": KL,
    "vq": VQConfig(**dataclasses.asdict(KL), codes=12),
    "tiny": TinyConfig(3, 4, (), (8, 8, 8), (8, 8, 8), (1, 2, 2), (2, 2, 1), False),
    "asymmetric": AsymmetricConfig(**dataclasses.asdict(KL) | {"decoder_widths": (64, 64)}),
    "approx": ApproxConfig(3, 4, (8, 16, 8, 8, 8, 8, 8), (7, 5, 3, 3, 3, 3, 3, 3)),
    "burgess": BurgessConfig(1, 32, 8, 16, 4),
    "joint": JointConfig(1, 32, 8, 16, 4, (10,)),
    "wan": WanConfig(3, 4, (8, 16, 24), (48, 32, 16), 1, 2, (1,), True),
    "wan2.2": Wan22Config(3, 4, (8, 16, 16), (48, 48, 24), 1, 2, (1,), True, patch=2),
    "hunyuan-image": HunyuanImageConfig(3, 4, (32, 64), (64, 32), 1, 2),
    "dcae": DCAEConfig(
        *(3, 4, (16, 16, 16), (16, 16, 16), (1, 2, 1), (1, 2, 1), (2,), (2,), ((), (), (5,)), ((), (), (5,)), (1,)),
        *("conv", "interpolate", 8, (1,), "relu", True, True),
    ),
}
