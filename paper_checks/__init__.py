"""Every claim of the theory, checked."""
