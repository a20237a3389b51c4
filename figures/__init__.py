"""One look for every figure; plain arrays to axes."""
