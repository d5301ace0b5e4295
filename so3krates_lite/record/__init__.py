"""What a network attended to: the record, what can be computed of it, and its tables."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "AttentionRecord": "attention_record",
        "BLOCKS": "blocks",
        "BlockAttention": "parts",
        "DirectedPairs": "parts",
        "QUANTITIES": "parts",
        "SphericalAttention": "parts",
        "mean_maps": "lazily",
        "open_attention": "lazily",
        "pairs_that_switch": "lazily",
        "record_from_arrays": "from_arrays",
        "record_of": "lazily",
        "record_trajectory": "trajectory",
    },
)
