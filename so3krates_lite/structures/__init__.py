"""Atoms as padded batches: sets of frames, their neighbours, and arrays of one shape."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Batch": "graph",
        "CapacityError": "batching",
        "Frames": "frames",
        "PairList": "graph",
        "Pairs": "graph",
        "make_batch": "batching",
        "neighbour_pairs": "neighbours",
        "pair_vectors": "graph",
    },
)
