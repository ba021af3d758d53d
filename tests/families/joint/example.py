"""A small config for the laws that hold for every family."""

from vaekit.families.joint.net import JointConfig

EXAMPLE = JointConfig(1, 32, 8, 16, 4, (10,))
