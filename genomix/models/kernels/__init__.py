"""Compiled loops of the measures; imported where they are called, so that nothing else waits for the compiler."""
