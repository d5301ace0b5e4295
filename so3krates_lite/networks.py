"""The network of each configuration."""

from __future__ import annotations

import flax.linen as nn

from so3krates_lite.config import GeomAttConfig, ModelConfig, So3kratesConfig
from so3krates_lite.geomatt import GeomAtt
from so3krates_lite.model import So3krates

_NETWORKS = {So3kratesConfig: So3krates, GeomAttConfig: GeomAtt}


def network(config: ModelConfig) -> nn.Module:
    """The flax module that computes a configuration.

    It is called with a batch, the vectors of its pairs, ``record``, ``switches`` (factors on
    attention coefficients by block and [receiver, sender]) and ``collect`` (how many pairs may be
    computed in passes, see `passes`), and returns the energy of each atom and, if asked for, what
    it attended to.
    """
    return _NETWORKS[type(config)](config)
