"""What the fork server imports once, so that every run's process starts with it."""

import models.detr
import models.mask2former
import models.maskattn_unet
import models.self_attention_unet
import models.unet
from bench import run

__all__ = ["models", "run"]
