"""How JAX runs here: precision and the compilation cache. Importing it changes no setting.

Compiled functions are kept on disk between runs, so that the second start of the same model waits
for no compiler. ``SO3KRATES_COMPILATION_CACHE`` names another folder, or ``off``. JAX itself is
imported inside the functions: settings and the command line's help come through here and need not
wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from so3krates_lite.errors import UserError

PRECISIONS = ("float32", "float64")


def precision_of(name: str | np.dtype | type) -> np.dtype:
    """The numpy dtype of a precision, "float32" or "float64"."""
    for precision in PRECISIONS:
        if name is not None and name in (precision, np.dtype(precision), np.dtype(precision).type):
            return np.dtype(precision)
    raise UserError(f"precision = {name!r} is not possible: choose float32 or float64.")


def precision_context(dtype: np.dtype) -> AbstractContextManager:
    """Let JAX compute in ``dtype`` within the block; float64 needs to be allowed explicitly."""
    import jax

    return jax.enable_x64(dtype == np.float64)


class Compiled:
    """A function as `jax.jit` makes it, with `compiler_options`; made when it is first used.

    JAX takes options for whole programs only: within another compiled function, use ``function``.

    Args:
        function: what is compiled
        once: it will run only once or twice, so that compiling it quickly matters more than how
            quickly it runs
        settings: as for `jax.jit`
    """

    def __init__(self, function: Callable, *, once: bool = False, **settings: Any) -> None:
        self.function, self.once, self.settings = function, once, settings
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    @cached_property
    def jitted(self) -> Any:
        import jax

        _settle()
        # options depend on the device, which is not to be started by an import
        options = compiler_options(once=self.once)
        return jax.jit(self.function, compiler_options=options, **self.settings)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.jitted(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # what copying looks for, before there is a function
        return getattr(self.jitted, name)  # trace, lower, …


# On a CPU, XLA of 2026 gives matrix products to a library (YNN) that fuses what surrounds them; for
# products as small as ours the older way is a quarter faster.
_ON_CPU = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
# What runs once is not worth optimising, nor XLA's newer way of writing loops.
_ONCE = {"xla_backend_optimization_level": 0}
_ONCE_ON_CPU = {
    "xla_cpu_opt_preset": "CPU_OPT_PRESET_FAST_COMPILE",
    "xla_cpu_use_fusion_emitters": False,
}


@cache
def compiler_options(once: bool = False) -> dict[str, Any]:
    """Options of XLA that pay for this network on this machine's device; {} where none is known.

    A version of XLA that lacks a choice for CPUs says so, and goes without.

    Args:
        once: for a program that runs only once or twice
    """
    import jax

    everywhere = _ONCE if once else {}
    if jax.default_backend() != "cpu":
        return everywhere
    options = everywhere | (_ONCE_ON_CPU if once else _ON_CPU)
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return everywhere
    return options


def enable_compilation_cache() -> None:
    """Keep compiled functions in the user's cache folder, unless JAX has a place already.

    What is compiled by this package does so by itself, when the first program is made.
    """
    import jax
    import platformdirs
    from jax.experimental.compilation_cache import compilation_cache

    setting = os.environ.get("SO3KRATES_COMPILATION_CACHE", "")
    if setting.lower() == "off" or jax.config.jax_compilation_cache_dir:
        return
    folder = Path(setting or Path(platformdirs.user_cache_dir("so3krates-lite")) / "compiled")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home is no reason to refuse to work
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # JAX looks for a place when it first compiles anything, and then not again
    compilation_cache.reset_cache()
    # e3x's tables are many small compilations, each far below JAX's default threshold of one second
    threshold = "jax_persistent_cache_min_compile_time_secs"
    if getattr(jax.config, threshold) == 1.0:  # JAX's default: the user has set no other
        jax.config.update(threshold, 0.0)
    _hush()


_settle = cache(enable_compilation_cache)


def _hush() -> None:
    """Let XLA say fatal things only, unless the user wants to hear more.

    Of every program that it takes from the cache, XLA before jax 0.10.2 says as an error that the
    processor has no "prefer-no-gather": a hint to the compiler, which no processor has. What is an
    error comes as an exception, too.
    """
    import logging

    import jax

    if jax.__version_info__ >= (0, 10, 2):
        return
    if jax.config.jax_logging_level not in (None, "NOTSET"):
        return
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1":  # 1 is what JAX itself sets
        return
    loggers = [logging.getLogger(name) for name in ("jax", "jaxlib")]
    levels = [logger.level for logger in loggers]
    jax.config.update("jax_logging_level", "CRITICAL")
    for logger, level in zip(loggers, levels, strict=True):  # what Python says is still heard
        logger.setLevel(level)


def available_memory() -> int:
    """Bytes that are free where JAX computes: in the device's memory, or in the machine's."""
    import jax
    import psutil

    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return psutil.virtual_memory().available


def hardware() -> str:
    """The machine in words: device, cores, versions; to stand beside every measured number."""
    import platform

    import jax

    device = jax.devices()[0]
    kind = device.device_kind if device.platform != "cpu" else processor()
    return (
        f"{kind}, {os.cpu_count()} CPU cores, Python {platform.python_version()}, "
        f"jax {jax.__version__}"
    )


def processor() -> str:
    """The processor in words."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine() or "CPU"
