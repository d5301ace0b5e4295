"""Pictures of molecules, attention and errors, that turn in a browser or stand still on a page."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Scene": "scene",
        "attention_matrix": "figures",
        "molecule_figure": "molecule3d",
        "save_figure": "export",
    },
)
