"""SO3LR, a published force field, as ours and its authors' code compute it: `__main__.py`."""
