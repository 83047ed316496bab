"""The embedders: word counts of the bank, sentence models in local folders, and the policy itself."""
