"""Pure rules: numpy and the standard library; no file, socket, clock, log or randomness."""
