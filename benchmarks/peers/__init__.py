"""Other networks, each from its own package in an environment of its own."""
