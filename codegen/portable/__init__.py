"""Family ``c99`` in plain C text: small kernels that need no schedule."""
