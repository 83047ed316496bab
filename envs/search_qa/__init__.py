"""Question answering over a local library: search for passages, then answer, as Search-R1 has it."""
