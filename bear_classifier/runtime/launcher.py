"""Whether `accelerate launch` or `torchrun` started this process as one of several, by its
environment variables (https://docs.pytorch.org/docs/stable/elastic/run.html)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from bear_classifier.errors import ConfigError

_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_OTHER_WAYS = {  # of training that `accelerate launch` may be asked for
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}


@dataclass(frozen=True)
class Launch:
    """One of `world` processes that train one network. rank: 0 to world - 1, the first decides,
    writes and prints; local_rank, local_world: the same among those of this machine; restarts: how
    often the launcher has started all of them anew."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0


def launch_of(environ: Mapping[str, str] = os.environ) -> Launch:
    """What the launcher says; one process where there is none. Raises ConfigError (BAD_LAUNCH)."""
    if any(name not in environ for name in _NEEDED):
        return Launch()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
    usual = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "0"}
    texts = [environ.get(name, usual.get(name, "")) for name in names]
    if not all(text.isdecimal() for text in texts) or int(texts[0]) >= int(texts[1]):
        values = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise ConfigError(
            "BAD_LAUNCH",
            f"the launcher's environment makes no sense ({values}); start it with accelerate launch"
            " or torchrun, or unset WORLD_SIZE",
        )
    launch = Launch(*map(int, texts))
    for name, words in _OTHER_WAYS.items():
        if launch.world > 1 and environ.get(name, "").lower() == "true":
            raise ConfigError(
                "BAD_LAUNCH",
                f"{words} divides a network over GPUs; a network here fits on one. Start with"
                " accelerate launch --multi_gpu",
            )
    return launch


def is_other_rank(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether another process of a training than the first: it prints nothing."""
    return all(name in environ for name in _NEEDED) and environ["RANK"] != "0"
