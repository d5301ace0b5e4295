"""Speed against other implementations, measured side by side; `make bench` runs it."""
