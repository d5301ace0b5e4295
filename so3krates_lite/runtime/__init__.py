"""How JAX runs here, and files that are complete or absent."""

from so3krates_lite.runtime.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "Compiled": "settings",
        "available_memory": "settings",
        "compiler_options": "settings",
        "enable_compilation_cache": "settings",
        "hardware": "settings",
        "load_arrays": "files",
        "precision_context": "settings",
        "precision_of": "settings",
        "replacing": "files",
        "save_arrays": "files",
        "write_atomically": "files",
    },
)
