"""The model: load, save, sample, and score tokens. Token ids are encoded once and never re-encoded."""
